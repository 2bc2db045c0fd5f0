//! Keys and certificates of a development consortium, as files.
//!
//! Three trees: the MAN root over node CAs, one root per institution's inside (bank systems and operators),
//! and the enterprises' root, which is the evidence root on the ledger.

use anyhow::{Context as _, Result, anyhow};
use gw_proto::{PublicKey, Scheme, UnixMillis};
use gw_sm::{
    KeyPair,
    cert::{CertKind, CertSpec, Issuer, Subject, build_cert, certs_to_pem, key_to_pem},
};
use hsm_api::{Entropy, OsEntropy};
use std::{net::IpAddr, path::Path, time::Duration};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A CA: its certificate and key.
pub struct Authority {
    /// DER
    pub certificate: Vec<u8>,
    key: KeyPair,
}

/// Makes certificates from `now` on.
pub struct Maker {
    now: UnixMillis,
    address: IpAddr,
}

/// A fresh key.
pub fn fresh_key(scheme: Scheme) -> Result<KeyPair> {
    KeyPair::generate(scheme, |b| OsEntropy.fill(b)).context("randomness")
}

fn serial() -> Result<[u8; 16]> {
    let mut s = [0u8; 16];
    OsEntropy.fill(&mut s).context("randomness")?;
    s[0] = s[0] & 0x7f | 0x40;
    Ok(s)
}

fn named(common_name: &str, organization: &str) -> Subject {
    Subject {
        common_name: Some(common_name.to_owned()),
        organization: Some(organization.to_owned()),
        serial_number: None,
    }
}

impl Maker {
    /// Certificates valid from a minute ago.
    pub fn new(now: UnixMillis, address: IpAddr) -> Self {
        Self { now, address }
    }

    /// Where the consortium lives, and loopback.
    fn addresses(&self) -> Vec<IpAddr> {
        let mut all = vec![IpAddr::from([127, 0, 0, 1]), self.address];
        all.dedup();
        all
    }

    fn spec(&self, kind: CertKind, subject: Subject, public_key: &PublicKey, days: u32) -> Result<CertSpec> {
        Ok(CertSpec {
            kind,
            subject,
            public_key: *public_key,
            not_before: UnixMillis(self.now.0.saturating_sub(60_000)),
            not_after: self.now.plus(DAY * days),
            serial: serial()?,
            dns: Vec::new(),
            ips: Vec::new(),
        })
    }

    /// A self-signed root.
    pub fn root(&self, scheme: Scheme, name: &str) -> Result<Authority> {
        let key = fresh_key(scheme)?;
        let spec =
            self.spec(CertKind::Root, named(name, "Xinguan development consortium"), key.public_key(), 3650)?;
        let sign = |d: &[u8; 32]| key.sign_digest(d).map_err(|e| e.to_string());
        let issuer = Issuer { certificate: None, key: key.public_key(), sign: &sign };
        let certificate = build_cert(&spec, &issuer).map_err(|e| anyhow!("root {name}: {e}"))?;
        Ok(Authority { certificate, key })
    }

    fn issue(&self, by: &Authority, spec: &CertSpec) -> Result<Vec<u8>> {
        let sign = |d: &[u8; 32]| by.key.sign_digest(d).map_err(|e| e.to_string());
        let issuer = Issuer { certificate: Some(&by.certificate), key: by.key.public_key(), sign: &sign };
        build_cert(spec, &issuer).map_err(|e| anyhow!("certificate of {:?}: {e}", spec.subject.common_name))
    }

    /// The certificate of a node key: a CA that may certify only its own node's TLS names.
    pub fn node_ca(
        &self,
        man: &Authority,
        node: &str,
        organization: &str,
        key: &PublicKey,
    ) -> Result<Vec<u8>> {
        let kind = CertKind::NodeCa { dns: crate::dial::server_name(&gw_proto::NodeId::parse(node)?) };
        let mut spec = self.spec(kind, named(node, organization), key, 730)?;
        spec.dns = vec!["localhost".to_owned()];
        spec.ips = self.addresses();
        self.issue(man, &spec)
    }

    /// A client of a listener: an operator or a bank's system. Returns certificate and key.
    pub fn client(
        &self,
        by: &Authority,
        name: &str,
        organization: &str,
        scheme: Scheme,
    ) -> Result<(Vec<u8>, KeyPair)> {
        let key = fresh_key(scheme)?;
        let spec = self.spec(CertKind::TlsClient, named(name, organization), key.public_key(), 365)?;
        Ok((self.issue(by, &spec)?, key))
    }

    /// A client whose certificate is over already.
    pub fn expired_client(&self, by: &Authority, name: &str, scheme: Scheme) -> Result<(Vec<u8>, KeyPair)> {
        let key = fresh_key(scheme)?;
        let mut spec = self.spec(CertKind::TlsClient, named(name, "expired"), key.public_key(), 1)?;
        spec.not_before = UnixMillis(self.now.0.saturating_sub(10 * 86_400_000));
        spec.not_after = UnixMillis(self.now.0.saturating_sub(86_400_000));
        Ok((self.issue(by, &spec)?, key))
    }

    /// A server of the development ledger.
    pub fn server(&self, by: &Authority, name: &str, scheme: Scheme) -> Result<(Vec<u8>, KeyPair)> {
        let key = fresh_key(scheme)?;
        let mut spec =
            self.spec(CertKind::TlsServerClient, named(name, "development ledger"), key.public_key(), 365)?;
        spec.dns = vec!["localhost".to_owned()];
        spec.ips = self.addresses();
        Ok((self.issue(by, &spec)?, key))
    }

    /// An enterprise's signing certificate: serialNumber is its company code.
    pub fn enterprise(
        &self,
        by: &Authority,
        name: &str,
        code: &gw_proto::Uscc,
    ) -> Result<(Vec<u8>, KeyPair)> {
        let key = fresh_key(Scheme::Sm2Sm3)?;
        let subject = Subject {
            common_name: Some(name.to_owned()),
            organization: None,
            serial_number: Some(code.expose().to_owned()),
        };
        let spec = self.spec(CertKind::EvidenceSigner, subject, key.public_key(), 365)?;
        Ok((self.issue(by, &spec)?, key))
    }
}

/// Writes a file, mode 0600.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut f = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    f.write_all(bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes certificates as PEM.
pub fn write_certs(path: &Path, chain: &[&[u8]]) -> Result<()> {
    let pem = certs_to_pem(chain.iter().copied()).map_err(|e| anyhow!("{e}"))?;
    write_private(path, pem.as_bytes())
}

/// Writes NAME.pem (certificate, then its chain) and NAME.key (PKCS#8).
pub fn write_identity(folder: &Path, name: &str, chain: &[&[u8]], key: &KeyPair) -> Result<()> {
    write_certs(&folder.join(format!("{name}.pem")), chain)?;
    let pem = key_to_pem(key).map_err(|e| anyhow!("{e}"))?;
    write_private(&folder.join(format!("{name}.key")), pem.as_bytes())
}
