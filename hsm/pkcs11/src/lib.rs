//! PKCS#11 modules as a keystore.
