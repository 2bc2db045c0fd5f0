//! `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// `major:minor`
    pub(crate) device: String,
    pub(crate) at: String,
    /// options of the mount and of its file system
    pub(crate) options: Vec<String>,
    pub(crate) kind: String,
}

impl Mount {
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }

    pub(crate) fn is_writable(&self) -> bool {
        // either can be read-only, then nothing can be written
        !self.has("ro")
    }
}

/// Lines that are not understood are left out: what is looked for is then missing, and the claim fails.
pub(crate) fn parse_mounts(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_line).collect()
}

/// The last mount at a place hides those before.
pub(crate) fn mount_at<'a>(mounts: &'a [Mount], place: &str) -> Option<&'a Mount> {
    mounts.iter().rev().find(|m| m.at == place)
}

fn parse_line(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(2);
    let device = before.next()?.to_owned();
    let at = before.nth(1)?.to_owned();
    let own = before.next()?;
    let mut after = after.split(' ');
    let kind = after.next()?.to_owned();
    let system = after.nth(1).unwrap_or_default();
    let options = own.split(',').chain(system.split(',')).map(str::to_owned).collect();
    Some(Mount { device, at, options, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "22 1 253:0 / / ro,relatime shared:1 - erofs /dev/mapper/root ro,seclabel\n\
        40 22 0:30 / /run rw,nosuid,nodev shared:9 - tmpfs tmpfs rw,mode=755\n\
        nonsense\n\
        41 22 253:1 / /var/lib/xinguan rw,nosuid,nodev,noexec - ext4 /dev/mapper/data rw\n";

    #[test]
    fn fields_are_found() {
        let mounts = parse_mounts(LINES);
        assert_eq!(mounts.len(), 3);
        let root = mount_at(&mounts, "/").unwrap();
        assert_eq!((root.device.as_str(), root.kind.as_str()), ("253:0", "erofs"));
        assert!(!root.is_writable());
        let data = mount_at(&mounts, "/var/lib/xinguan").unwrap();
        assert!(data.is_writable() && data.has("noexec") && data.kind == "ext4");
        assert!(mount_at(&mounts, "/config").is_none());
    }

    #[test]
    fn the_last_mount_counts() {
        let twice = format!("{LINES}50 22 0:40 / / rw - tmpfs tmpfs rw\n");
        assert_eq!(mount_at(&parse_mounts(&twice), "/").unwrap().kind, "tmpfs");
    }
}
