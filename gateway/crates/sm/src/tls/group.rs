//! The group curveSM2: ECDH on SM2's curve (RFC 8998 §2, RFC 8446 §7.4.2).

use super::CURVE_SM2;
use rustls::{
    Error, NamedGroup, PeerMisbehaved,
    crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup},
};
use sm2::elliptic_curve::{point::AffineCoordinates as _, sec1::ToSec1Point as _};
use zeroize::Zeroizing;

#[derive(Debug)]
pub(super) struct CurveSm2;

impl SupportedKxGroup for CurveSm2 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        let secret = loop {
            getrandom::fill(&mut *bytes).map_err(|_| GetRandomFailed)?;
            // zero or not below the order: 1 in 2^32
            if let Ok(secret) = sm2::SecretKey::from_slice(&*bytes) {
                break secret;
            }
        };
        let public = secret.public_key().to_sec1_point(false).as_bytes().to_vec();
        Ok(Box::new(Exchange { secret, public }))
    }
    fn name(&self) -> NamedGroup {
        CURVE_SM2
    }
}

/// The secret wipes itself on drop.
struct Exchange {
    secret: sm2::SecretKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        // RFC 8446 §4.2.8.2: uncompressed, and on the curve
        if peer.len() != 65 || peer.first() != Some(&4) {
            return Err(PeerMisbehaved::InvalidKeyShare.into());
        }
        let peer = sm2::PublicKey::from_sec1_bytes(peer).map_err(|_| PeerMisbehaved::InvalidKeyShare)?;
        let scalar = Zeroizing::new(self.secret.to_nonzero_scalar());
        // the cofactor is 1 and both are not zero: never the identity
        let product = Zeroizing::new(peer.to_projective() * **scalar);
        let point = Zeroizing::new(product.to_affine());
        let x = Zeroizing::new(point.x());
        Ok(SharedSecret::from(x.as_slice()))
    }
    fn pub_key(&self) -> &[u8] {
        &self.public
    }
    fn group(&self) -> NamedGroup {
        CURVE_SM2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{fixed, vector};

    /// GB/T 32918.5 Annex B: V = [tB](PA + [x̄1]RA) with tB = dB + x̄2·rB. The standard's exchange is not ours, its
    /// last step is: a secret times the peer's point.
    #[test]
    fn the_standards_point() {
        use sm2::elliptic_curve::PrimeField as _;
        let scalar = |bytes: [u8; 32]| sm2::Scalar::from_repr(bytes.into()).unwrap();
        // x̄ = 2^127 + (x & (2^127 - 1))
        let bar = |name: &str| {
            let mut x: [u8; 32] = fixed::<64>(name)[..32].try_into().unwrap();
            x[..16].fill(0);
            x[16] |= 0x80;
            scalar(x)
        };
        let point = |name: &str| {
            let sec1 = [&[4u8][..], &vector(name)].concat();
            sm2::PublicKey::from_sec1_bytes(&sec1).unwrap().to_projective()
        };
        let secret = scalar(fixed("kx.db")) + bar("kx.rb") * scalar(fixed("kx.rb_secret"));
        let peer = point("kx.pa") + point("kx.ra") * bar("kx.ra");
        let peer = sm2::PublicKey::from_affine(peer.to_affine()).unwrap();
        let secret = sm2::SecretKey::from_slice(&secret.to_repr()).unwrap();
        let ours = Box::new(Exchange { secret, public: Vec::new() });
        let shared = ours.complete(peer.to_sec1_point(false).as_bytes()).unwrap();
        assert_eq!(shared.secret_bytes(), &vector("kx.v")[..32]);
    }

    #[test]
    fn both_sides_agree_and_bad_shares_are_refused() {
        let a = CurveSm2.start().unwrap();
        let b = CurveSm2.start_and_complete(a.pub_key()).unwrap();
        assert_eq!(b.group, CURVE_SM2);
        let secret = a.complete(&b.pub_key).unwrap();
        assert_eq!(secret.secret_bytes(), b.secret.secret_bytes());
        assert_eq!(secret.secret_bytes().len(), 32);
        let mut off_curve = b.pub_key.clone();
        off_curve[64] ^= 1;
        let compressed = [&[2u8][..], &b.pub_key[1..33]].concat();
        for bad in [&off_curve[..], &compressed, &[], &[0], &[4; 65], &b.pub_key[..64]] {
            assert!(CurveSm2.start_and_complete(bad).is_err(), "{bad:?}");
        }
    }
}
