//! Blocking server and client; each connection prints one line of what was negotiated.

use anyhow::{Context as _, Result, bail, ensure};
use gw_sm::{
    cert,
    tls::{self, Profile, TlsIdentity, Trust},
};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, ServerConnection, Stream, crypto::CryptoProvider,
};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, pem::PemObject as _,
};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

const DEADLINE: Duration = Duration::from_secs(20);
const ALPN: &[&[u8]] = &[b"http/1.1"];
const EXPORTER: &[u8] = b"EXPORTER-xinguan-1";

fn load(folder: &Path, with_crls: bool) -> Result<(TlsIdentity, Trust)> {
    let read = |name: &str| std::fs::read(folder.join(name)).with_context(|| name.to_owned());
    let certs = |name: &str| -> Result<Vec<CertificateDer<'static>>> {
        Ok(cert::certs_from_pem(&read(name)?)?.into_iter().map(CertificateDer::from).collect())
    };
    let key = cert::key_from_pem(std::str::from_utf8(&read("tls.key")?)?)?;
    let crls = if with_crls { cert::crls_from_pem(&read("crls.pem")?)? } else { vec![] };
    let crls = crls.into_iter().map(CertificateRevocationListDer::from).collect();
    let identity = TlsIdentity { chain: certs("tls.pem")?, key: Arc::new(key) };
    Ok((identity, Trust { roots: certs("root.pem")?, crls }))
}

/// One line: kind, suite, group, peer, exporter.
fn facts<Side>(connection: &ConnectionCommon<Side>) -> Result<String> {
    let suite = connection.negotiated_cipher_suite().context("no suite")?.suite();
    let group = connection.negotiated_key_exchange_group().map(|g| format!("{:?}", g.name()));
    let kind = connection.handshake_kind().context("no handshake")?;
    let peer = connection.peer_certificates().and_then(<[_]>::first).context("peer has no certificate")?;
    let name = cert::parse_cert(peer)?.subject.common_name.unwrap_or_default();
    let exported = connection.export_keying_material([0u8; 32], EXPORTER, None)?;
    let exported: String = exported.iter().map(|b| format!("{b:02X}")).collect();
    let group = group.unwrap_or_else(|| "none".into());
    Ok(format!("kind={kind:?} suite={suite:?} group={group} peer={name} exporter={exported}"))
}

/// Serves `count` connections: a request up to an empty line, an answer with a key update in its middle.
pub(crate) fn serve(profile: Profile, folder: &Path, count: usize, crls: bool) -> Result<()> {
    let (identity, trust) = load(folder, crls)?;
    let config = Arc::new(tls::server_config(profile, &identity, &trust, ALPN)?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening {}", listener.local_addr()?);
    for _ in 0..count {
        let (socket, _) = listener.accept()?;
        match answer(&config, socket) {
            Ok(line) => println!("{line}"),
            Err(error) => println!("refused: {error:#}"),
        }
    }
    Ok(())
}

fn answer(config: &Arc<rustls::ServerConfig>, mut socket: TcpStream) -> Result<String> {
    socket.set_read_timeout(Some(DEADLINE))?;
    let mut connection = ServerConnection::new(config.clone())?;
    let mut stream = Stream::new(&mut connection, &mut socket);
    let mut line = String::new();
    let mut reader = BufReader::new(&mut stream).take(16 * 1024);
    while reader.read_line(&mut line)? > 0 && !line.trim_end().is_empty() {
        line.clear();
    }
    let text = facts(&connection)? + "\n";
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
    Stream::new(&mut connection, &mut socket).write_all(head.as_bytes())?;
    connection.refresh_traffic_keys()?;
    Stream::new(&mut connection, &mut socket).write_all(text.as_bytes())?;
    connection.send_close_notify();
    connection.complete_io(&mut socket)?;
    Ok(text.trim_end().to_owned())
}

/// Connects `count` times with one configuration, so that later times may resume. The server sends lines back to
/// front (`s_server -rev`).
pub(crate) fn connect(
    profile: Profile,
    folder: &Path,
    address: &str,
    count: usize,
    options: &[&str],
) -> Result<()> {
    let (identity, trust) = load(folder, options.contains(&"crls"))?;
    let config = if options.contains(&"retry") {
        retrying_config(profile, folder, &identity, &trust)?
    } else {
        tls::client_config(profile, &identity, &trust, ALPN)?
    };
    let config = Arc::new(config);
    for _ in 0..count {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        let mut connection = ClientConnection::new(config.clone(), ServerName::try_from("localhost")?)?;
        turn_around(&mut connection, &mut socket, "before the key update")?;
        connection.refresh_traffic_keys()?;
        turn_around(&mut connection, &mut socket, "after the key update")?;
        println!("{}", facts(&connection)?);
        connection.send_close_notify();
        connection.complete_io(&mut socket)?;
    }
    Ok(())
}

/// A client whose first key share is of a group that is not the profile's, so that the server must ask again.
fn retrying_config(
    profile: Profile,
    folder: &Path,
    identity: &TlsIdentity,
    trust: &Trust,
) -> Result<ClientConfig> {
    let own = tls::provider(profile);
    let foreign = match profile {
        Profile::Sm => rustls::crypto::ring::kx_group::X25519,
        Profile::International => rustls::crypto::ring::kx_group::SECP384R1,
    };
    let kx_groups = std::iter::once(foreign).chain(own.kx_groups.iter().copied()).collect();
    let provider = CryptoProvider { kx_groups, ..(*own).clone() };
    let key = PrivateKeyDer::from_pem_slice(&std::fs::read(folder.join("tls.key"))?)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(tls::server_verifier(profile, trust)?)
        .with_client_auth_cert(identity.chain.clone(), key)?;
    config.alpn_protocols = ALPN.iter().map(|p| p.to_vec()).collect();
    Ok(config)
}

fn turn_around(connection: &mut ClientConnection, socket: &mut TcpStream, text: &str) -> Result<()> {
    let mut stream = Stream::new(connection, socket);
    stream.write_all(format!("{text}\n").as_bytes())?;
    let mut answer = String::new();
    let mut byte = [0u8];
    while !answer.ends_with('\n') {
        if stream.read(&mut byte)? == 0 || answer.len() > 1024 {
            bail!("the server stopped in the middle of a line");
        }
        answer.push(char::from(byte[0]));
    }
    let expected: String = text.chars().rev().collect();
    ensure!(answer.trim_end() == expected, "sent {text:?}, got {answer:?}");
    Ok(())
}
