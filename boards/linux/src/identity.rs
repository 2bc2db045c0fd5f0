//! Which machine this is: vendor, product and serial number from DMI or the device tree.

use crate::{
    description::{Identity, IdentitySource},
    machine::{Machine, read_short},
};
use board_api::{Absent, Part, Problem};

/// What firmware writes where nobody filled in a serial number.
const NOTHING: [&str; 8] = [
    "",
    "none",
    "default string",
    "not specified",
    "not applicable",
    "to be filled by o.e.m.",
    "system serial number",
    "0123456789",
];

/// Refuses a machine that is not the described one.
pub(crate) fn check(machine: &Machine, identity: &Identity) -> Vec<Problem> {
    let (vendor, product) = match identity.source {
        IdentitySource::Dmi => ("/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name"),
        // the device tree has no field for the vendor: it stands before the comma of `compatible`
        IdentitySource::DeviceTree => ("/proc/device-tree/compatible", "/proc/device-tree/model"),
    };
    let mut out = Vec::new();
    for (key, wanted, file) in
        [("identity.vendor", &identity.vendor, vendor), ("identity.product", &identity.product, product)]
    {
        let Some(wanted) = wanted else { continue };
        let found = read_short(&machine.path(file));
        let found = match identity.source {
            IdentitySource::DeviceTree if key == "identity.vendor" => {
                found.map(|f| f.split(',').next().unwrap_or_default().to_owned())
            }
            _ => found,
        };
        if found.as_ref() != Some(wanted) {
            let says = found.map_or("nothing".to_owned(), |f| format!("`{}`", f.escape_debug()));
            let what = format!("the machine says {says} ({file}), not `{wanted}`");
            out.push(Problem::new(key, what, "choose the description of this machine: pins differ"));
        }
    }
    out
}

/// The serial number.
pub(crate) fn serial(machine: &Machine, identity: &Identity) -> Part<String> {
    let files: &[&str] = match identity.source {
        IdentitySource::Dmi => &["/sys/class/dmi/id/product_serial", "/sys/class/dmi/id/board_serial"],
        IdentitySource::DeviceTree => &["/proc/device-tree/serial-number"],
    };
    let filled = |text: &String| !NOTHING.contains(&text.to_lowercase().as_str());
    let found = files.iter().filter_map(|f| read_short(&machine.path(f))).find(filled);
    found.ok_or_else(|| Absent::because(format!("the firmware gives none ({})", files.join(", "))))
}
