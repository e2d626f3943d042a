import { io } from 'socket.io-client';

class ChatClient {
    constructor(url, token) {
        this.socket = io(url, {
            auth: { token },
            reconnection: true,
            reconnectionDelay: 1000,
            reconnectionDelayMax: 5000,
            reconnectionAttempts: 5
        });

        this.setupEventListeners();
    }

    setupEventListeners() {
        // Connexion
        this.socket.on('connect', () => {
            console.log('Connecté au serveur');
        });

        // Messages
        this.socket.on('message', (message) => {
            console.log('Nouveau message:', message);
        });

        // Saisie
        this.socket.on('userTyping', (data) => {
            console.log('Utilisateur en train d\'écrire:', data);
        });

        // Statut
        this.socket.on('userStatus', (status) => {
            console.log('Statut utilisateur:', status);
        });

        // Erreurs
        this.socket.on('error', (error) => {
            console.error('Erreur:', error);
        });
    }

    sendMessage(message, context = {}) {
        this.socket.emit('message', { message, context });
    }

    setTyping(isTyping) {
        this.socket.emit('typing', isTyping);
    }

    disconnect() {
        this.socket.disconnect();
    }
}

export { ChatClient };
