//! An institution's inside: its own root, clients good and bad, a revocation list.
//!
//! `xinguan dev consortium` throws its roots' keys away; whoever tries expired, revoked and odd certificates
//! needs a root of its own. What gw-sm does not build (another curve, a server's certificate) openssl does.

use super::{
    agreement::{now, random},
    caller::Caller,
    consortium::{Consortium, Profile, institution_of, set},
    process,
};
use anyhow::{Context as _, Result, anyhow, ensure};
use gw_proto::{Scheme, UnixMillis};
use gw_sm::{
    KeyPair,
    cert::{
        CertKind, CertSpec, CrlSpec, Issuer, RevokedSerial, Subject, build_cert, build_crl, certs_to_pem,
        crl_to_pem, key_to_pem, parse_cert,
    },
};
use hsm_api::{Entropy as _, OsEntropy};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const DAY: u64 = 86_400_000;

/// How a certificate is good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// for clients, in date
    Good,
    /// over since yesterday
    Expired,
    /// begins tomorrow
    Early,
    /// for signing documents, not for TLS
    ForDocuments,
}

/// A root and what it has certified.
pub struct Inside {
    folder: PathBuf,
    gateway_root: PathBuf,
    scheme: Scheme,
    key: KeyPair,
    certificate: Vec<u8>,
}

/// An operator of a configuration: name and roles.
pub type Operator<'a> = (&'a str, &'a [&'a str]);

impl Inside {
    /// A fresh root for a gateway's own people.
    pub fn make(c: &Consortium, gateway: &str) -> Result<Self> {
        Self::named(c, gateway, "inside root of a test")
    }

    /// The same with a subject of one's choice.
    pub fn named(c: &Consortium, gateway: &str, name: &str) -> Result<Self> {
        let scheme = match c.profile() {
            Profile::Sm => Scheme::Sm2Sm3,
            Profile::International => Scheme::EcdsaP256Sha256,
        };
        let folder = c.path(&format!("inside-{}", hex::encode(random::<8>()?)));
        std::fs::create_dir_all(&folder)?;
        let key = fresh(scheme)?;
        let spec = spec(CertKind::Root, name, &key, Kind::Good)?;
        let certificate = build(&spec, None, &key)?;
        write_certificate(&folder.join("root.pem"), &certificate)?;
        std::fs::write(folder.join("root.key"), key_to_pem(&key).map_err(|e| anyhow!("{e}"))?.as_bytes())?;
        let gateway_root = c.file(&format!("clients/{}/gateway-root.pem", institution_of(gateway)));
        Ok(Self { folder, gateway_root, scheme, key, certificate })
    }

    /// A client of this root.
    pub fn client(&self, name: &str, kind: Kind) -> Result<Caller> {
        let key = fresh(self.scheme)?;
        let purpose = if kind == Kind::ForDocuments { CertKind::EvidenceSigner } else { CertKind::TlsClient };
        let certificate = build(&spec(purpose, name, &key, kind)?, Some(&self.certificate), &self.key)?;
        write_certificate(&self.folder.join(format!("{name}.pem")), &certificate)?;
        let pem = key_to_pem(&key).map_err(|e| anyhow!("{e}"))?;
        std::fs::write(self.folder.join(format!("{name}.key")), pem.as_bytes())?;
        Ok(self.caller(name))
    }

    /// A client that openssl makes: `curve` as openssl names it, `usage` an extended key usage.
    pub fn client_by_openssl(&self, name: &str, curve: &str, usage: &str) -> Result<Caller> {
        let file = |end: &str| self.folder.join(format!("{name}.{end}")).to_string_lossy().into_owned();
        let of_root = |end: &str| self.folder.join(format!("root.{end}")).to_string_lossy().into_owned();
        let extensions = format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage={usage}\n"
        );
        std::fs::write(file("cnf"), extensions)?;
        openssl(&[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            &format!("ec_paramgen_curve:{curve}"),
            "-out",
            &file("key"),
        ])?;
        openssl(&[
            "req",
            "-new",
            "-key",
            &file("key"),
            "-subj",
            &format!("/CN={name}"),
            "-out",
            &file("csr"),
        ])?;
        openssl(&[
            "x509",
            "-req",
            "-in",
            &file("csr"),
            "-CA",
            &of_root("pem"),
            "-CAkey",
            &of_root("key"),
            "-set_serial",
            &format!("0x40{}", hex::encode(random::<8>()?)),
            "-days",
            "1",
            "-sha256",
            "-extfile",
            &file("cnf"),
            "-out",
            &file("pem"),
        ])?;
        Ok(self.caller(name))
    }

    fn caller(&self, name: &str) -> Caller {
        Caller::of(&self.folder, name, &self.gateway_root)
    }

    /// Writes a list that revokes these callers' certificates.
    pub fn revoke(&self, callers: &[&Caller]) -> Result<()> {
        let at = UnixMillis(now().0 - 1_000);
        let mut revoked = Vec::new();
        for caller in callers {
            revoked.push(RevokedSerial { serial: certificate(caller)?.serial, at });
        }
        let spec =
            CrlSpec { this_update: at, next_update: at.plus(Duration::from_millis(DAY)), number: 1, revoked };
        let sign = |d: &[u8; 32]| self.key.sign_digest(d).map_err(|e| e.to_string());
        let issuer = Issuer { certificate: Some(&self.certificate), key: self.key.public_key(), sign: &sign };
        let crl = build_crl(&spec, &issuer).map_err(|e| anyhow!("{e}"))?;
        let pem = crl_to_pem(&crl).map_err(|e| anyhow!("{e}"))?;
        Ok(std::fs::write(self.folder.join("crl.pem"), pem)?)
    }

    /// Puts root, list and operators into a gateway's configuration. Those that it had stay, with new
    /// certificates of this root in the places of the old ones.
    pub fn install(&self, c: &Consortium, gateway: &str, more: &[(&Caller, Operator<'_>)]) -> Result<()> {
        let clients = c.file(&format!("clients/{}", institution_of(gateway)));
        let mut lines = Vec::new();
        for (name, roles) in operators_of(c, gateway)? {
            let caller = self.client(&name, Kind::Good)?;
            for end in ["pem", "key"] {
                let file = format!("{name}.{end}");
                std::fs::copy(self.folder.join(&file), clients.join(&file))?;
            }
            lines.push(line(&caller, &name, roles)?);
        }
        for (caller, (name, roles)) in more {
            lines.push(line(caller, name, roles.iter().map(|r| (*r).into()).collect())?);
        }
        let root = self.folder.join("root.pem").to_string_lossy().into_owned();
        let crl = self.folder.join("crl.pem").to_string_lossy().into_owned();
        c.configure(gateway, |t| {
            let has_bank = t.get("listen").and_then(|l| l.get("bank")).is_some();
            for of in ["admin", "bank"].into_iter().take(1 + usize::from(has_bank)) {
                set(t, &format!("trust.{of}_roots"), root.as_str());
                set(t, &format!("trust.{of}_crl"), vec![toml::Value::from(crl.as_str())]);
            }
            set(t, "operators", lines);
        })
    }
}

/// Name and roles of each operator in a configuration.
fn operators_of(c: &Consortium, gateway: &str) -> Result<Vec<(String, Vec<toml::Value>)>> {
    let table: toml::Table = std::fs::read_to_string(c.config(gateway))?.parse()?;
    let all = table.get("operators").and_then(toml::Value::as_array).context("no operators")?;
    let one =
        |o: &toml::Value| Some((o.get("name")?.as_str()?.to_owned(), o.get("roles")?.as_array()?.clone()));
    Ok(all.iter().filter_map(one).collect())
}

fn line(caller: &Caller, name: &str, roles: Vec<toml::Value>) -> Result<toml::Value> {
    let mut line = toml::Table::new();
    set(&mut line, "name", name);
    set(&mut line, "spki", certificate(caller)?.spki.to_string());
    set(&mut line, "roles", roles);
    Ok(line.into())
}

fn certificate(caller: &Caller) -> Result<gw_sm::cert::CertInfo> {
    let (pem, _) = caller.identity.as_ref().context("a caller without a certificate")?;
    parse_cert(&super::thief::first_cert(pem)?).map_err(|e| anyhow!("{e}"))
}

fn fresh(scheme: Scheme) -> Result<KeyPair> {
    Ok(KeyPair::generate(scheme, |out| OsEntropy.fill(out))?)
}

fn spec(kind: CertKind, name: &str, key: &KeyPair, how: Kind) -> Result<CertSpec> {
    let mut serial: [u8; 16] = random()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    let at = now().0;
    let (from, until) = match how {
        Kind::Expired => (at - 3 * DAY, at - DAY),
        Kind::Early => (at + DAY, at + 3 * DAY),
        Kind::Good | Kind::ForDocuments => (at - 60_000, at + DAY),
    };
    let subject = Subject { common_name: Some(name.to_owned()), ..Subject::default() };
    Ok(CertSpec {
        kind,
        subject,
        public_key: *key.public_key(),
        not_before: UnixMillis(from),
        not_after: UnixMillis(until),
        serial,
        dns: Vec::new(),
        ips: Vec::new(),
    })
}

fn build(spec: &CertSpec, certificate: Option<&[u8]>, by: &KeyPair) -> Result<Vec<u8>> {
    let sign = |d: &[u8; 32]| by.sign_digest(d).map_err(|e| e.to_string());
    let issuer = Issuer { certificate, key: by.public_key(), sign: &sign };
    build_cert(spec, &issuer).map_err(|e| anyhow!("{e}"))
}

fn write_certificate(path: &Path, der: &[u8]) -> Result<()> {
    let pem = certs_to_pem([der]).map_err(|e| anyhow!("{e}"))?;
    Ok(std::fs::write(path, pem)?)
}

fn openssl(arguments: &[&str]) -> Result<()> {
    let out = Command::new("openssl")
        .args(arguments)
        .output()
        .context("cannot run openssl (apt package openssl; scripts/test installs it)")?;
    ensure!(out.status.success(), "openssl {}: {}", arguments.join(" "), process::text(&out));
    Ok(())
}
