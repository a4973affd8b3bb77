//! What a transfer could be at most on this machine: the benchmark's own client against a thread that does nothing
//! but move bytes, without FTP.

use std::{
    fs::File,
    io::{BufRead, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use ftp_tests::certificate::Pair;
use rustls::{
    ClientConnection, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::client::{
    BUFFER_LIMIT, Connector, Data, PIECE, Source, Wide, drop_some, provider, send_copied,
};

/// Moves `each` bytes of the file over each of so many connections on loopback at once, from the thread to the
/// client or, for an upload, to the thread; the time until the last is done. The receiver throws them away inside
/// the kernel, the sender sends by sendfile(2). To be called on a thread inside a network namespace.
pub(super) fn plain(file: &File, each: u64, streams: usize, upload: bool) -> Result<Duration> {
    let pairs = connections(streams)?.into_iter();
    let pairs = pairs.map(|(client, server)| match upload {
        true => (client, server),
        false => (server, client),
    });
    timed(
        pairs.collect(),
        |sender| {
            let last = sender.try_clone()?;
            Data::plain(sender).send(Source::File(file, each))?;
            Ok(last.shutdown(Shutdown::Write)?)
        },
        |receiver| {
            let received = Data::plain(receiver).discard(&mut Vec::new())?;
            ensure!(received == each, "{received} bytes came of {each}");
            Ok(())
        },
    )
}

/// The same inside TLS, by rustls at both ends; hands are shaken before.
pub(super) fn tls(
    file: &File,
    each: u64,
    streams: usize,
    upload: bool,
    certificate: &Pair,
) -> Result<Duration> {
    let (config, connector) = (acceptor(certificate)?, Connector::new()?);
    let mut pairs = Vec::new();
    for (client, server) in connections(streams)? {
        pairs.push(handshake(client, server, &connector, &config)?);
    }
    let send = |mut client| send_copied(&mut client, file, each);
    let take = |stream: &mut dyn BufRead| {
        let mut left = each;
        while left > 0 {
            let received = drop_some(stream)? as u64;
            ensure!(received > 0, "the sender ended {left} bytes early");
            left = left.saturating_sub(received);
        }
        Ok(())
    };
    match upload {
        true => timed(pairs, send, |mut server| take(&mut server)),
        false => {
            let pairs = pairs.into_iter().map(|(client, server)| (server, client));
            timed(
                pairs.collect(),
                |mut server| encrypt(&mut server, each),
                |mut client| take(&mut client),
            )
        }
    }
}

/// Both ends of so many connections: the client's first.
fn connections(count: usize) -> Result<Vec<(TcpStream, TcpStream)>> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
    let address = listener.local_addr()?;
    (0..count)
        .map(|_| {
            let client = TcpStream::connect(address)?;
            let (server, _) = listener.accept()?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            Ok((client, server))
        })
        .collect()
}

/// Both ends of a connection inside TLS.
type Private = (
    StreamOwned<ClientConnection, Wide>,
    StreamOwned<ServerConnection, Wide>,
);

fn handshake(
    client: TcpStream,
    server: TcpStream,
    connector: &Connector,
    config: &Arc<ServerConfig>,
) -> Result<Private> {
    let mut server = Wide::new(server);
    let mut tls = ServerConnection::new(Arc::clone(config))?;
    tls.set_buffer_limit(Some(BUFFER_LIMIT));
    thread::scope(|scope| {
        let accepted = scope.spawn(|| {
            while tls.is_handshaking() {
                tls.complete_io(&mut server)?;
            }
            Ok::<_, anyhow::Error>(StreamOwned::new(tls, server))
        });
        let client = connector.handshake(client)?;
        let server = accepted.join().map_err(|_| anyhow!("a thread panicked"))?;
        Ok((client, server.context("the TLS handshake failed")?))
    })
}

fn acceptor(certificate: &Pair) -> Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(&certificate.certificate)
        .and_then(Iterator::collect)
        .context("cannot read the certificate")?;
    let key = PrivateKeyDer::from_pem_file(&certificate.key).context("cannot read the key")?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("no TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("cannot use the certificate")?;
    // Nobody reads them, and a close with tickets unread would be a reset.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Sends so many bytes, always the same ones.
fn encrypt(stream: &mut impl Write, bytes: u64) -> Result<()> {
    let piece = vec![0x5a; PIECE];
    let mut left = bytes;
    while left > 0 {
        let some = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        stream.write_all(&piece[..some])?;
        left -= some as u64;
    }
    Ok(stream.flush()?)
}

/// Has each pair send and receive on threads of their own; the time until the last is done.
fn timed<S: Send, R: Send>(
    pairs: Vec<(S, R)>,
    send: impl Fn(S) -> Result<()> + Sync,
    receive: impl Fn(R) -> Result<()> + Sync,
) -> Result<Duration> {
    let (send, receive) = (&send, &receive);
    let began = Instant::now();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (sender, receiver) in pairs {
            threads.push(scope.spawn(move || send(sender)));
            threads.push(scope.spawn(move || receive(receiver)));
        }
        threads.into_iter().try_for_each(|thread| {
            let done: Result<()> = thread.join().map_err(|_| anyhow!("a thread panicked"))?;
            done
        })
    })?;
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn every_byte_arrives_either_way() -> Result<()> {
        const EACH: u64 = 300_000;
        let folder = tempfile::tempdir()?;
        let certificate = ftp_tests::certificate::write(folder.path())?;
        let mut file = tempfile::tempfile()?;
        file.write_all(&vec![7; EACH as usize])?;
        for upload in [false, true] {
            plain(&file, EACH, 2, upload)?;
            tls(&file, EACH, 2, upload, &certificate)?;
            // A file that ends too early is an error, and no hang.
            assert!(plain(&file, EACH + 1, 1, upload).is_err());
        }
        Ok(())
    }
}
