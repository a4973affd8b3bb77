//! libunftp over its file system back end, set up as its own example does it: a contestant of `ftp-bench`,
//! which starts it. Anonymous sessions may read and write. Nothing is measured here.
//!
//! `bench-unftp ADDRESS:PORT ROOT FIRST-PORT LAST-PORT [CERTIFICATE KEY]`

use std::{env, error::Error, process::ExitCode};

use libunftp::ServerBuilder;
use unftp_sbe_fs::Filesystem;

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-unftp: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (site, tls) = match &arguments[..] {
        [address, root, first, last] => ([address, root, first, last], None),
        [address, root, first, last, certificate, key] => {
            ([address, root, first, last], Some((certificate, key)))
        }
        _ => return Err("takes ADDRESS:PORT ROOT FIRST-PORT LAST-PORT [CERTIFICATE KEY]".into()),
    };
    let [address, root, first, last] = site;
    // Another of its dependencies may bring a second provider, and rustls wants one named then.
    // It fails only where one is named already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Once here, so that a folder that is not there is an error and not a panic in a session.
    Filesystem::new(root.clone())?;
    let folder = root.clone();
    let storage = move || match Filesystem::new(folder.clone()) {
        Ok(storage) => storage,
        Err(error) => {
            eprintln!("bench-unftp: {folder}: {error}");
            std::process::exit(1);
        }
    };
    let mut builder = ServerBuilder::new(Box::new(storage))
        .passive_ports(first.parse()?..=last.parse()?)
        .idle_session_timeout(600);
    if let Some((certificate, key)) = tls {
        builder = builder.ftps(certificate, key);
    }
    Ok(builder.build()?.listen(address.clone()).await?)
}
