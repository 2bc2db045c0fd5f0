//! What a program in the gateway's place may not do: tried by doing it.
//!
//! Not part of a box's life: the image's tests start it in a unit that is the gateway's own but for the program.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

/// An attempt, and what it did.
type Attempt = (&'static str, fn() -> io::Result<()>);

const ATTEMPTS: &[Attempt] = &[
    ("start a program of the root", || start(Path::new("/usr/sbin/nft"))),
    ("start a program of its own folder", own_program),
    ("write into the root", || write("/usr/lib/xinguan/x")),
    ("write the configuration", || write("/config/x")),
    ("write the updater's records", || write("/var/lib/xinguan/update/x")),
    ("remove the updater's records", || fs::rename("/var/lib/xinguan/update", "/var/lib/xinguan/mine")),
    ("write a kernel setting", || fs::write("/proc/sys/kernel/core_pattern", "x")),
    ("read the kernel's log", || fs::read("/dev/kmsg").map(drop)),
    ("read a disk", || fs::File::open("/dev/disk/by-partlabel/root-a").map(drop)),
    ("read memory", || fs::File::open("/dev/mem").map(drop)),
    ("see other programs", || fs::read("/proc/1/cmdline").map(drop)),
    ("open a raw socket", raw_socket),
    ("load a module", load_module),
];

/// One line for each attempt; whether all were refused.
pub(crate) fn lines() -> (Vec<String>, bool) {
    let mut refused = 0;
    let mut out = Vec::new();
    for (what, attempt) in ATTEMPTS {
        out.push(match attempt() {
            Err(e) => {
                refused += 1;
                format!("confined: cannot {what}: {e}")
            }
            Ok(()) => format!("confined: NOT, it can {what}"),
        });
    }
    out.push(format!("confinement: {refused} of {} refused", ATTEMPTS.len()));
    (out, refused == ATTEMPTS.len())
}

fn write(path: &str) -> io::Result<()> {
    fs::write(path, "x")
}

fn start(program: &Path) -> io::Result<()> {
    let status =
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

/// A copy of this program, where the gateway may write.
fn own_program() -> io::Result<()> {
    let copy = Path::new("/var/lib/xinguan/copy");
    fs::copy(std::env::current_exe()?, copy)?;
    let started = fs::set_permissions(copy, fs::Permissions::from_mode(0o755)).and_then(|()| start(copy));
    fs::remove_file(copy)?;
    started
}

fn raw_socket() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketType, ipproto};
    Ok(rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).map(drop)?)
}

fn load_module() -> io::Result<()> {
    let file = fs::File::open(std::env::current_exe()?)?;
    Ok(rustix::system::finit_module(&file, c"", 0)?)
}
