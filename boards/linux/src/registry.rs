//! The boards that are built in. Adding one: its folder in `boards/`, and one line here.

/// Name (`board/revision`) and description.
pub const BOARDS: &[(&str, &str)] = &[
    ("x86-rack/rev-a", include_str!("../../x86-rack/rev-a.toml")),
    ("arm-rack/rev-a", include_str!("../../arm-rack/rev-a.toml")),
    ("qemu-x86/rev-a", include_str!("../../qemu-x86/rev-a.toml")),
    ("qemu-arm/rev-a", include_str!("../../qemu-arm/rev-a.toml")),
];
