//! PINs that are wrong, modules and tokens that are not there.

use crate::place::{LABEL, OTHER_PIN, PIN, exists, ok, refusal, with_token};
use gw_proto::Scheme;
use hsm_api::{HsmError, KeyPurpose, KeyStore as _, backend::SecretError, sign_message};
use hsm_pkcs11::{PinTrouble, Pkcs11Error, Pkcs11KeyStore, Pkcs11Options, TokenName};
use std::os::unix::fs::PermissionsExt as _;

/// How OpenSC prints CKF_USER_PIN_COUNT_LOW.
const COUNT_LOW: &str = "user PIN count low";

fn trouble(e: &Pkcs11Error) -> Option<PinTrouble> {
    if let Pkcs11Error::Pin { trouble, .. } = e { Some(*trouble) } else { None }
}

#[test]
fn a_wrong_pin_is_tried_once_and_then_no_pin_is() {
    with_token("login::a_wrong_pin_is_tried_once_and_then_no_pin_is", |place| {
        place.write_pin(OTHER_PIN);
        let e = Pkcs11KeyStore::open(&place.options()).unwrap_err();
        assert_eq!(trouble(&e), Some(PinTrouble::Refused), "{e}");
        assert!(!format!("{e} {e:?}").contains(OTHER_PIN));
        assert!(place.token_flags().contains(COUNT_LOW), "{}", place.token_flags());
        // a restart with the right one, or the wrong one: the token is not asked
        for pin in [OTHER_PIN, PIN] {
            place.write_pin(pin);
            let (e, gateway) = refusal(&place.options());
            assert_eq!(trouble(&e), Some(PinTrouble::WrongBefore), "{e}");
            let HsmError::Closed(text) = gateway else { panic!("{gateway}") };
            assert!(text.contains("login_after_wrong_pin"), "{text}");
        }
        let once = Pkcs11Options { login_after_wrong_pin: true, ..place.options() };
        drop(Pkcs11KeyStore::open(&once).unwrap());
        // the right PIN has cleared it
        place.open().list_keys().unwrap();
    });
}

#[test]
fn the_operators_own_login_clears_it_too() {
    with_token("login::the_operators_own_login_clears_it_too", |place| {
        let wrong = place.pkcs11_tool_with(OTHER_PIN, &["--list-objects"]);
        assert!(!wrong.status.success());
        let (e, _) = refusal(&place.options());
        assert_eq!(trouble(&e), Some(PinTrouble::WrongBefore), "{e}");
        ok(&place.pkcs11_tool(&["--list-objects"]));
        place.open().list_keys().unwrap();
    });
}

/// The PIN is changed while the gateway runs; then the token is reset. The old PIN is tried once.
#[test]
fn a_pin_that_became_wrong_closes_the_keystore() {
    with_token("login::a_pin_that_became_wrong_closes_the_keystore", |place| {
        let store = place.open();
        let signer = store.create_key("node", KeyPurpose::Node, Scheme::EcdsaP256Sha256).unwrap();
        ok(&place.pkcs11_tool(&["--change-pin", "--new-pin", OTHER_PIN]));
        place.unplug();
        assert!(matches!(sign_message(&*signer, b"m"), Err(HsmError::Device(_))));
        place.plug_in();
        let e = sign_message(&*signer, b"m").unwrap_err();
        assert!(matches!(&e, HsmError::Closed(t) if t.contains("refuses the PIN")), "{e}");
        assert!(place.token_flags().contains(COUNT_LOW), "{}", place.token_flags());
        // the operator's own login clears that; were the old PIN tried again, it would be set again
        ok(&place.pkcs11_tool_with(OTHER_PIN, &["--list-objects"]));
        for _ in 0..3 {
            let e = sign_message(&*signer, b"m").unwrap_err();
            assert!(matches!(&e, HsmError::Closed(t) if t.contains("refuses the PIN")), "{e}");
        }
        assert!(!place.token_flags().contains(COUNT_LOW), "{}", place.token_flags());
        drop((store, signer));
        place.write_pin(OTHER_PIN);
        let store = place.open();
        let signer = store.load_key("node", KeyPurpose::Node).unwrap();
        sign_message(&*signer, b"m").unwrap();
    });
}

#[test]
fn a_pin_file_that_is_not_private_or_not_there_is_named() {
    with_token("login::a_pin_file_that_is_not_private_or_not_there_is_named", |place| {
        std::fs::set_permissions(place.pin_file(), std::fs::Permissions::from_mode(0o640)).unwrap();
        let e = Pkcs11KeyStore::open(&place.options()).unwrap_err();
        assert!(matches!(e, Pkcs11Error::Secret(SecretError::Exposed { mode: 0o640, .. })), "{e}");
        assert!(e.to_string().contains("chmod 600"), "{e}");
        std::fs::remove_file(place.pin_file()).unwrap();
        let e = Pkcs11KeyStore::open(&place.options()).unwrap_err();
        assert!(matches!(e, Pkcs11Error::Secret(SecretError::Io { .. })), "{e}");
        assert!(!place.token_flags().contains(COUNT_LOW), "a PIN was tried");
    });
}

#[test]
fn a_module_that_is_none_is_named() {
    with_token("login::a_module_that_is_none_is_named", |place| {
        let with = |module: &str| {
            let options = Pkcs11Options { module: module.into(), ..place.options() };
            Pkcs11KeyStore::open(&options).unwrap_err()
        };
        let e = with("/nowhere/libvendor.so");
        assert!(matches!(e, Pkcs11Error::Module { .. }), "{e}");
        assert!(e.to_string().contains("/nowhere/libvendor.so"), "{e}");
        let e = with(place.pin_file().to_str().unwrap());
        assert!(matches!(e, Pkcs11Error::Module { .. }), "{e}");
        // a library, but of mathematics
        let libraries =
            ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6", "/lib64/libm.so.6"];
        let library = libraries.into_iter().find(|l| exists(l)).expect("the C library's libm.so.6 is there");
        let e = with(library);
        assert!(matches!(e, Pkcs11Error::Symbol { symbol: "C_GetFunctionList", .. }), "{e}");
    });
}

#[test]
fn a_token_that_is_not_there_or_not_the_only_one_is_named() {
    with_token("login::a_token_that_is_not_there_or_not_the_only_one_is_named", |place| {
        place.init_token(LABEL);
        let with = |token: TokenName| Pkcs11KeyStore::open(&Pkcs11Options { token, ..place.options() });
        let e = with(TokenName::Label("other".into())).unwrap_err();
        assert!(matches!(&e, Pkcs11Error::NoToken { seen, .. } if seen.contains("`xinguan`")), "{e}");
        let Pkcs11Error::NoToken { seen, .. } = e else { unreachable!() };
        let serial = seen.split("serial number ").nth(1).unwrap();
        let serial = serial.split(')').next().unwrap();
        let e = with(TokenName::Label(LABEL.into())).unwrap_err();
        assert!(matches!(e, Pkcs11Error::TwoTokens { count: 2, .. }), "{e}");
        with(TokenName::Serial(serial.to_owned())).unwrap();
        assert!(matches!(with(TokenName::Serial("0".into())), Err(Pkcs11Error::NoToken { .. })));
    });
}
