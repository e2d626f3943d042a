"""Makes tokens.json: keys, and tokens of users' libraries, in which the tests of `auth` prove that they are understood.

    pip install pyjwt authlib cryptography; npm install jose jsonwebtoken; python make.py > tokens.json

The private keys are forgotten. Every token expires in 2100.
"""

import base64, json, subprocess, sys, warnings
from pathlib import Path

warnings.filterwarnings("ignore")
import jwt
from authlib.jose import JsonWebToken
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, ed448, rsa

EXP = 4102444800
ISSUER = "https://issuer.example/"
ALGORITHMS = {
    "rsa": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    "rsa-other": ["RS256"],
    "p256": ["ES256"],
    "p384": ["ES384"],
    "ed25519": ["EdDSA"],
}
private = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "rsa-other": rsa.generate_private_key(65537, 3072),
    "rsa-1024": rsa.generate_private_key(65537, 1024),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ed448": ed448.Ed448PrivateKey.generate(),
}


def public_pem(key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def private_pem(key):
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, none).decode()


def jwk(name, key):
    known = {"rsa": "RSA", "p": "EC", "ed25519": "OKP"}
    kind = next((known[start] for start in known if name.startswith(start)), None)
    if kind is None:
        return None
    by = {"RSA": jwt.algorithms.RSAAlgorithm, "EC": jwt.algorithms.ECAlgorithm, "OKP": jwt.algorithms.OKPAlgorithm}[kind]
    return {**json.loads(by.to_jwk(key.public_key())), "kid": name}


def claims(library, audience):
    return {"sub": library, "exp": EXP, "iat": 1700000000, "iss": ISSUER, "aud": audience}


tokens = []
for name, algorithms in ALGORITHMS.items():
    pem = private_pem(private[name])
    for algorithm in algorithms:
        made = jwt.encode(claims("PyJWT", "chat"), pem, algorithm, headers={"kid": name})
        tokens.append({"library": "PyJWT", "key": name, "algorithm": algorithm, "kid": name, "token": made})
        made = jwt.encode(claims("PyJWT", ["chat"]), pem, algorithm)
        tokens.append({"library": "PyJWT", "key": name, "algorithm": algorithm, "kid": None, "token": made})
        header = {"alg": algorithm, "kid": name}
        made = JsonWebToken([algorithm]).encode(header, claims("Authlib", ["other", "chat"]), pem).decode()
        tokens.append({"library": "Authlib", "key": name, "algorithm": algorithm, "kid": name, "token": made})
order = [
    {"key": name, "algorithm": algorithm, "pem": private_pem(private[name])}
    for name, algorithms in ALGORITHMS.items()
    for algorithm in algorithms
]
node = subprocess.run(
    ["node", str(Path(__file__).with_name("make.mjs"))], input=json.dumps(order), capture_output=True, text=True, check=True
)
tokens += json.loads(node.stdout)
keys = {name: {"pem": public_pem(key), "jwk": jwk(name, key)} for name, key in private.items()}
json.dump({"keys": keys, "tokens": tokens}, sys.stdout, indent=1)
