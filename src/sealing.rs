//! Encryption at rest: XChaCha20-Poly1305, a random nonce before each ciphertext.
//!
//! What is sealed is bound to its place (the *context*): the secret of one source copied into
//! another source's row does not open.

use std::sync::OnceLock;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};

use crate::signing::Key;

const NONCE_LEN: usize = 24;

/// Seals and opens with one key.
#[derive(Clone)]
pub struct Sealer(XChaCha20Poly1305);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(***)")
    }
}

/// Says that something sealed cannot be opened: another key, another place, or damaged bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret cannot be opened: sealed with another key, for another place, or damaged")]
pub struct Unopenable;

impl Sealer {
    /// Returns a sealer for the key of `TRIBUTARY_SECRETS_KEY`.
    pub fn new(key: &Key) -> Self {
        Self(XChaCha20Poly1305::new(key.bytes().into()))
    }

    /// Seals `plain` for the place named by `context`: 24 bytes of nonce, then the ciphertext.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random_bytes();
        let sealed = self
            .0
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: context })
            .expect("a secret is far below the cipher's limit of 256 GiB");
        [&nonce[..], &sealed].concat()
    }

    /// Opens what was sealed for the same place.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unopenable> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Unopenable)?;
        self.0
            .decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: context })
            .map_err(|_| Unopenable)
    }
}

/// What was sealed, kept open from its first use on: opening costs more than the signature that is
/// checked with it. It lives as long as the terms that hold it, and is never shown.
#[derive(Clone, Default)]
pub struct Opened(OnceLock<Option<Vec<u8>>>);

impl Opened {
    /// Opens what was sealed for a place, once.
    pub fn get(&self, sealer: &Sealer, context: &[u8], sealed: &[u8]) -> Option<&[u8]> {
        self.0.get_or_init(|| sealer.open(context, sealed).ok()).as_deref()
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened(***)")
    }
}

/// Returns random bytes of the operating system, fit for keys.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_in_its_place_and_whole() {
        let sealer = Sealer::new(&Key::new([3; 32]));
        let sealed = sealer.seal(b"src_a", b"whsec");
        assert_eq!(sealer.open(b"src_a", &sealed), Ok(b"whsec".to_vec()));
        assert_eq!(sealer.open(b"src_b", &sealed), Err(Unopenable));
        assert_eq!(Sealer::new(&Key::new([4; 32])).open(b"src_a", &sealed), Err(Unopenable));
        for place in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[place] ^= 1;
            assert_eq!(sealer.open(b"src_a", &damaged), Err(Unopenable), "byte {place}");
        }
        assert_eq!(sealer.open(b"src_a", &sealed[..10]), Err(Unopenable));
        assert_ne!(sealed, sealer.seal(b"src_a", b"whsec"), "each nonce is new");
    }
}
