//! A simulated TPM for each gateway, with the endorsement certificate of a manufacturer made up for the test.

use super::{process, wait};
use anyhow::{Context as _, Result, ensure};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// Running simulators; they end with the value.
pub struct Tpms {
    // in a folder of its own under /tmp: a socket's name has at most 107 bytes
    folder: TempDir,
    children: RefCell<BTreeMap<String, Child>>,
}

impl Tpms {
    /// Makes and starts one for each node.
    pub fn start(nodes: &[&str]) -> Result<Self> {
        let this = Self { folder: TempDir::with_prefix("xinguan-tpm-")?, children: RefCell::default() };
        let setup = this.manufacturer()?;
        for node in nodes {
            this.manufacture(node, &setup)?;
            this.power_on(node)?;
        }
        let pem = |name: &str| std::fs::read(this.folder.path().join(name));
        let pinned = [pem("swtpm-localca-rootca-cert.pem")?, pem("ca-cert.pem")?].concat();
        std::fs::write(this.folder.path().join("manufacturers.pem"), pinned)?;
        Ok(this)
    }

    /// Where `xinguan dev consortium` looks for the sockets.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn socket(&self, node: &str) -> PathBuf {
        self.folder.path().join(format!("{node}.sock"))
    }

    /// Extends a PCR with 32 bytes, by a program of others. The gateway must have let its chip go.
    pub fn extend(&self, node: &str, pcr: u8, digest: [u8; 32]) -> Result<()> {
        let out = Command::new("tpm2_pcrextend")
            .arg(format!("{pcr}:sha256={}", hex::encode(digest)))
            .arg("--tcti")
            .arg(format!("swtpm:path={}", self.socket(node).display()))
            .stdin(Stdio::null())
            .output()
            .context("cannot run tpm2_pcrextend (apt package tpm2-tools; scripts/test installs it)")?;
        succeeded("tpm2_pcrextend", &out)
    }

    /// What the manufacturer certified, read out of the chip by a program of others, in DER. No gateway may use it.
    pub fn endorsement_certificate(&self, node: &str) -> Result<Vec<u8>> {
        let out = Command::new("tpm2_nvread")
            .args(["0x1c00016", "--tcti"])
            .arg(format!("swtpm:path={}", self.socket(node).display()))
            .stdin(Stdio::null())
            .output()
            .context("cannot run tpm2_nvread (apt package tpm2-tools; scripts/test installs it)")?;
        succeeded("tpm2_nvread", &out)?;
        Ok(out.stdout)
    }

    /// The box is switched off and on: PCRs begin anew. The gateway must have ended.
    pub fn power_cycle(&self, node: &str) -> Result<()> {
        let before = self.children.borrow_mut().remove(node);
        let mut before = before.with_context(|| format!("{node} has no chip"))?;
        before.kill()?;
        before.wait()?;
        for socket in [self.socket(node), self.control(node)] {
            std::fs::remove_file(socket)?;
        }
        self.power_on(node)
    }

    /// The configuration of swtpm_setup: one certificate authority for all chips.
    fn manufacturer(&self) -> Result<PathBuf> {
        let folder = self.folder.path();
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).map(|()| path)
        };
        let at = folder.display();
        let ca = write(
            "ca.conf",
            format!(
                "statedir = {at}\nsigningkey = {at}/ca-key.pem\nissuercert = {at}/ca-cert.pem\n\
                 certserial = {at}/serial\n"
            ),
        )?;
        let options = write("ca.options", "--platform-manufacturer Test\n".to_owned())?;
        Ok(write(
            "setup.conf",
            format!(
                "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {}\n\
                 create_certs_tool_options = {}\n",
                ca.display(),
                options.display()
            ),
        )?)
    }

    fn manufacture(&self, node: &str, setup: &Path) -> Result<()> {
        let state = self.folder.path().join(node);
        std::fs::create_dir(&state)?;
        let out = Command::new("swtpm_setup")
            .args(["--tpm2", "--ecc", "--create-ek-cert", "--config"])
            .arg(setup)
            .arg("--tpmstate")
            .arg(&state)
            .stdin(Stdio::null())
            .output()
            .context("cannot run swtpm_setup (apt package swtpm-tools; scripts/test installs it)")?;
        succeeded("swtpm_setup", &out)
    }

    // tpm2-tools look for the control channel under this name
    fn control(&self, node: &str) -> PathBuf {
        self.folder.path().join(format!("{node}.sock.ctrl"))
    }

    fn power_on(&self, node: &str) -> Result<()> {
        let (state, socket) = (self.folder.path().join(node), self.socket(node));
        let control = self.control(node);
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", state.display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", socket.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", control.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run swtpm (apt package swtpm; scripts/test installs it)")?;
        self.children.borrow_mut().insert(node.to_owned(), child);
        wait::until("swtpm listens", Duration::from_secs(30), || {
            ensure!(listens(&socket)? && listens(&control)?, "no socket yet");
            Ok(())
        })
    }
}

/// Whether somebody accepts connections there (flag SO_ACCEPTCON); asking by connecting would be a client.
fn listens(socket: &Path) -> Result<bool> {
    let (all, path) = (std::fs::read_to_string("/proc/net/unix")?, socket.display().to_string());
    Ok(all.lines().any(|l| l.ends_with(&path) && l.split_whitespace().nth(3) == Some("00010000")))
}

fn succeeded(what: &str, out: &Output) -> Result<()> {
    ensure!(out.status.success(), "{what}: {}", process::text(out));
    Ok(())
}

impl Drop for Tpms {
    fn drop(&mut self) {
        for child in self.children.get_mut().values_mut() {
            // ended already: both say so, and that is well
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
