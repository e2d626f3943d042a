//! The bundles of the official client, which a server can give to browsers (`serveClient` in Node).

use std::{fs, io, path::Path};

use engineio::http::Files;

/// The names under which Node's server has them.
const BUNDLES: [&str; 5] =
    ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js", "socket.io.esm.js"];

/// Reads the client's bundles and their source maps from a folder: `client-dist` of the npm package `socket.io`, or `dist` of
/// `socket.io-client`. Set as [`engineio::Config::files`], a browser gets them at `/socket.io/socket.io.js` and so on.
///
/// ```no_run
/// let mut engine = engineio::Config::default();
/// engine.path = "/socket.io/".to_owned();
/// engine.files = socketio::client_files("node_modules/socket.io-client/dist")?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// When a file cannot be read, or the folder has no bundle ([`io::ErrorKind::NotFound`]).
pub fn client_files(folder: impl AsRef<Path>) -> io::Result<Files> {
    let folder = folder.as_ref();
    let mut files = Files::default();
    for bundle in BUNDLES {
        if let Some(content) = read(&folder.join(bundle))? {
            files.add(bundle, "application/javascript; charset=utf-8", content);
        }
        let map = format!("{bundle}.map");
        if let Some(content) = read(&folder.join(&map))? {
            files.add(&map, "application/json; charset=utf-8", content);
        }
    }
    if files.is_empty() {
        let error = format!("no bundle of the Socket.IO client in {}, such as {}", folder.display(), BUNDLES[0]);
        return Err(io::Error::new(io::ErrorKind::NotFound, error));
    }
    Ok(files)
}

/// `None`: there is no such file.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}
