//! Each call, right and wrong, on a library of ours; both layouts.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may fail the test")]

use hsm_sdf_ffi::{Code, FfiError, Layout, SdfLibrary, Session};
use hsm_sdf_testlib::settings;
use std::{path::PathBuf, sync::Arc};

struct Place(tempfile::TempDir);

impl Place {
    fn new(text: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        // cargo puts the library of a dependency beside the tests
        let built = std::env::current_exe().unwrap().with_file_name("libhsm_sdf_testlib.so");
        std::fs::copy(&built, place.library()).expect("cargo has built hsm-sdf-testlib for this test");
        place.set(text);
        place
    }
    fn set(&self, text: &str) {
        std::fs::write(self.0.path().join(settings::FILE), text).unwrap();
    }
    fn library(&self) -> PathBuf {
        self.0.path().join("libsdf.so")
    }
    fn session(&self) -> Session {
        SdfLibrary::load(&self.library()).unwrap().open_device().unwrap().open_session().unwrap()
    }
}

fn settings_text(layout: &str) -> String {
    format!("layout {layout}\nkey 3 {} secret\n", "11".repeat(32))
}

fn code<T>(result: Result<T, FfiError>) -> Option<Code> {
    match result {
        Err(FfiError::Call { code, .. }) => Some(code),
        _ => None,
    }
}

#[test]
fn a_key_signs_only_with_its_right_and_verifies() {
    for (written, layout) in [("wide", Layout::Wide), ("narrow", Layout::Narrow)] {
        let place = Place::new(&settings_text(written));
        let mut s = place.session();
        assert_eq!(s.detect_layout(3).unwrap(), layout);
        let key = s.sign_public_key(3, layout).unwrap();
        assert_eq!(code(s.sign(3, &[5; 32], layout)), Some(Code::PARDENY));
        assert_eq!(code(s.access_right(3, b"Secret")), Some(Code::PRKRERR));
        s.access_right(3, b"secret").unwrap();
        let signature = s.sign(3, &[5; 32], layout).unwrap();
        assert!(s.verify(&key, &[5; 32], &signature, layout).unwrap());
        assert!(!s.verify(&key, &[6; 32], &signature, layout).unwrap());
        // a right belongs to one session
        let mut other = place.session();
        assert_eq!(code(other.sign(3, &[5; 32], layout)), Some(Code::PARDENY));
        s.release_access_right(3).unwrap();
        assert_eq!(code(s.sign(3, &[5; 32], layout)), Some(Code::PARDENY));
        assert_eq!(code(s.release_access_right(3)), Some(Code::PARDENY));
        for missing in [0, 4, u32::MAX] {
            assert_eq!(code(s.sign_public_key(missing, layout)), Some(Code::KEYNOTEXIST));
        }
    }
}

/// A structure read in the other layout is never taken for what it is not.
#[test]
fn the_wrong_layout_is_noticed_on_a_key() {
    let place = Place::new(&settings_text("narrow"));
    let shape = |r| matches!(r, Err(FfiError::Shape { layout: Layout::Wide, .. }));
    assert!(shape(place.session().sign_public_key(3, Layout::Wide)));
    place.set(&settings_text("wide"));
    // zeros where a coordinate is expected: the curve refuses it, which hsm-sdf asks
    let read = place.session().sign_public_key(3, Layout::Narrow).unwrap();
    assert_eq!(read[..32], [0; 32]);
}

#[test]
fn handles_of_another_boot_are_the_vendors_error() {
    let place = Place::new(&settings_text("wide"));
    let mut s = place.session();
    s.random(&mut [0; 3000]).unwrap();
    place.set(&format!("{}boot 1\n", settings_text("wide")));
    let dead = code(s.random(&mut [0; 8])).unwrap();
    assert_eq!((dead.name(), dead.number()), (None, 0x0100_0020));
    // closing it is no trouble
    drop(s);
    place.session().random(&mut [0; 8]).unwrap();
}

/// Sessions and device are closed when they are dropped: the device allows one session at a time.
#[test]
fn what_is_dropped_is_closed() {
    let place = Place::new(&format!("{}sessions 1\n", settings_text("wide")));
    let library = SdfLibrary::load(&place.library()).unwrap();
    let device = library.open_device().unwrap();
    for _ in 0..5 {
        let session = device.open_session().unwrap();
        assert_eq!(code(device.open_session()), Some(Code::OPENSESSION));
        drop(session);
    }
    let session = device.open_session().unwrap();
    drop(device);
    let count = Arc::strong_count(&library);
    drop(session);
    assert_eq!(Arc::strong_count(&library), count - 1, "the device went with its last session");
}

#[test]
fn symbols_are_looked_up_when_needed() {
    let place = Place::new("");
    let library = SdfLibrary::load(&place.library()).unwrap();
    assert!(library.has("SDF_OpenDevice") && !library.has("SDF_GenerateKeyPair_RSA"));
    let e = SdfLibrary::load(&place.0.path().join("none.so")).unwrap_err();
    assert!(matches!(e, FfiError::Load { .. }), "{e}");
}
