//! Sealed packets: AES-GCM under a keyring (NIST SP 800-38D).
//!
//! Several keys open, the first seals. A sealed piece is `nonce (12) | ciphertext | tag (16)`. The nonce is 8 random bytes
//! of the machine and a counter of 4, drawn anew when the counter wraps, so that none is used twice under one key.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::aes::Aes192;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, Nonce, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes that sealing adds.
pub const OVERHEAD: usize = NONCE + TAG;
const NONCE: usize = 12;
const TAG: usize = 16;
/// Most keys in a ring: an attacker's packet is tried against each.
pub const MAX_KEYS: usize = 16;

/// A key of 16, 24 or 32 bytes: AES-128, -192 or -256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    bytes: [u8; 32],
    len: u8,
}

/// Why something is no key, or not possible with this one. Texts are shown to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 16, 24 or 32 bytes.
    #[error("key size must be 16, 24 or 32 bytes")]
    Size,
    /// Not base64.
    #[error("Invalid key: it is not base64")]
    Base64,
    /// Not in the ring.
    #[error("Requested key is not in the keyring")]
    Unknown,
    /// The sealing key cannot be removed.
    #[error("Removing the primary key is not allowed")]
    Primary,
    /// The ring is full.
    #[error("the keyring holds {MAX_KEYS} keys already; remove one first")]
    Full,
    /// There is no keyring.
    #[error("No keyring available (encryption not enabled)")]
    None,
}

impl Key {
    /// From raw bytes.
    ///
    /// # Errors
    ///
    /// [`KeyError::Size`].
    pub fn new(raw: &[u8]) -> Result<Self, KeyError> {
        if !matches!(raw.len(), 16 | 24 | 32) {
            return Err(KeyError::Size);
        }
        let mut bytes = [0; 32];
        bytes[..raw.len()].copy_from_slice(raw);
        Ok(Self { bytes, len: raw.len() as u8 })
    }

    /// From base64, as users write it.
    ///
    /// # Errors
    ///
    /// [`KeyError::Base64`] or [`KeyError::Size`].
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        Self::new(&STANDARD.decode(text.trim()).map_err(|_| KeyError::Base64)?)
    }

    /// As base64.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.as_bytes())
    }

    /// Raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Key {
    /// Never the key itself: it would end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.len)
    }
}

#[derive(Clone)]
enum Cipher {
    Aes128(Aes128Gcm),
    Aes192(AesGcm<Aes192, U12>),
    Aes256(Aes256Gcm),
}

impl Cipher {
    fn new(key: &Key) -> Option<Self> {
        let raw = key.as_bytes();
        match raw.len() {
            16 => Aes128Gcm::new_from_slice(raw).ok().map(Self::Aes128),
            24 => AesGcm::new_from_slice(raw).ok().map(Self::Aes192),
            _ => Aes256Gcm::new_from_slice(raw).ok().map(Self::Aes256),
        }
    }

    fn seal(&self, nonce: &Nonce<U12>, aad: &[u8], buf: InOutBuf<'_, '_, u8>) -> Option<Tag> {
        match self {
            Self::Aes128(c) => c.encrypt_inout_detached(nonce, aad, buf).ok(),
            Self::Aes192(c) => c.encrypt_inout_detached(nonce, aad, buf).ok(),
            Self::Aes256(c) => c.encrypt_inout_detached(nonce, aad, buf).ok(),
        }
    }

    fn open(&self, nonce: &Nonce<U12>, aad: &[u8], buf: InOutBuf<'_, '_, u8>, tag: &Tag) -> bool {
        match self {
            Self::Aes128(c) => c.decrypt_inout_detached(nonce, aad, buf, tag).is_ok(),
            Self::Aes192(c) => c.decrypt_inout_detached(nonce, aad, buf, tag).is_ok(),
            Self::Aes256(c) => c.decrypt_inout_detached(nonce, aad, buf, tag).is_ok(),
        }
    }
}

/// Keys, the sealing one first. Empty: nothing is sealed.
#[derive(Clone, Default)]
pub struct Keyring {
    keys: Vec<(Key, Cipher)>,
}

impl Keyring {
    /// A ring of these, the sealing one first; repeated ones count once.
    ///
    /// # Errors
    ///
    /// [`KeyError::Full`].
    pub fn new(keys: &[Key]) -> Result<Self, KeyError> {
        let mut ring = Self::default();
        for key in keys {
            ring.install(*key)?;
        }
        Ok(ring)
    }

    /// Without any key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// All keys, the sealing one first.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = Key> + '_ {
        self.keys.iter().map(|(key, _)| *key)
    }

    /// The sealing key.
    #[must_use]
    pub fn primary(&self) -> Option<Key> {
        self.keys.first().map(|(key, _)| *key)
    }

    /// Adds a key; true if it was not there. The first one seals.
    ///
    /// # Errors
    ///
    /// [`KeyError::Full`].
    pub fn install(&mut self, key: Key) -> Result<bool, KeyError> {
        if self.keys.iter().any(|(k, _)| *k == key) {
            return Ok(false);
        }
        if self.keys.len() >= MAX_KEYS {
            return Err(KeyError::Full);
        }
        let cipher = Cipher::new(&key).ok_or(KeyError::Size)?;
        self.keys.push((key, cipher));
        Ok(true)
    }

    /// Seals with this one from now on; true if it did not before.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unknown`].
    pub fn use_key(&mut self, key: &Key) -> Result<bool, KeyError> {
        let at = self.keys.iter().position(|(k, _)| k == key).ok_or(KeyError::Unknown)?;
        self.keys[..=at].rotate_right(1);
        Ok(at > 0)
    }

    /// Removes a key; true if it was there.
    ///
    /// # Errors
    ///
    /// [`KeyError::Primary`].
    pub fn remove(&mut self, key: &Key) -> Result<bool, KeyError> {
        if self.primary().as_ref() == Some(key) {
            return Err(KeyError::Primary);
        }
        let before = self.keys.len();
        self.keys.retain(|(k, _)| k != key);
        Ok(self.keys.len() < before)
    }

    /// Seals `buf[from..]` in place; `aad` is authenticated, not hidden. Without a key nothing happens, and it says so.
    #[must_use]
    pub fn seal(&self, nonce: [u8; NONCE], aad: &[u8], buf: &mut Vec<u8>, from: usize) -> bool {
        let Some((_, cipher)) = self.keys.first() else { return false };
        buf.splice(from..from, nonce);
        let Some(plain) = buf.get_mut(from + NONCE..) else { return false };
        let Some(tag) = cipher.seal(&nonce.into(), aad, plain.into()) else { return false };
        buf.extend_from_slice(&tag);
        true
    }

    /// Opens a sealed piece into `plain`, replacing what is there. False: no key opens it, and `plain` is empty.
    #[must_use]
    pub fn open(&self, aad: &[u8], sealed: &[u8], plain: &mut Vec<u8>) -> bool {
        self.open_with(self.keys.len(), aad, sealed, plain)
    }

    /// As [`Keyring::open`], with the first `count` keys only.
    pub(crate) fn open_with(&self, count: usize, aad: &[u8], sealed: &[u8], plain: &mut Vec<u8>) -> bool {
        plain.clear();
        let Some((nonce, rest)) = sealed.split_first_chunk::<NONCE>() else { return false };
        let Some((text, tag)) = rest.split_last_chunk::<TAG>() else { return false };
        for (_, cipher) in self.keys.iter().take(count) {
            plain.clear();
            plain.extend_from_slice(text);
            if cipher.open(&(*nonce).into(), aad, plain.as_mut_slice().into(), &(*tag).into()) {
                return true;
            }
        }
        plain.clear();
        false
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    fn key(n: u8, len: usize) -> Key {
        Key::new(&vec![n; len]).unwrap()
    }

    #[test]
    fn what_one_seals_the_others_open_with_any_size_of_key() {
        for len in [16, 24, 32] {
            let ours = Keyring::new(&[key(1, len)]).unwrap();
            let theirs = Keyring::new(&[key(2, 32), key(1, len)]).unwrap();
            let mut packet = b"headbody".to_vec();
            assert!(ours.seal([7; 12], b"head", &mut packet, 4));
            assert_eq!(packet.len(), 8 + OVERHEAD);
            let mut plain = Vec::new();
            assert!(theirs.open(b"head", &packet[4..], &mut plain));
            assert_eq!(plain, b"body");
            assert!(!theirs.open(b"haed", &packet[4..], &mut plain), "the header is authenticated");
            for at in 4..packet.len() {
                let mut bad = packet.clone();
                bad[at] ^= 1;
                assert!(!theirs.open(b"head", &bad[4..], &mut plain), "byte {at}");
            }
            assert!(!Keyring::new(&[key(2, 32)]).unwrap().open(b"head", &packet[4..], &mut plain));
            assert!(plain.is_empty());
        }
    }

    #[test]
    fn short_pieces_open_nothing() {
        let ring = Keyring::new(&[key(1, 16)]).unwrap();
        for len in 0..OVERHEAD {
            assert!(!ring.open(&[], &vec![0; len], &mut Vec::new()));
        }
        assert!(!Keyring::default().seal([0; 12], &[], &mut vec![1], 0));
    }

    #[test]
    fn the_ring_keeps_its_rules() {
        let mut ring = Keyring::new(&[key(1, 16), key(1, 16)]).unwrap();
        assert_eq!(ring.keys().len(), 1);
        assert_eq!(ring.install(key(2, 16)), Ok(true));
        assert_eq!(ring.install(key(2, 16)), Ok(false));
        assert_eq!(ring.remove(&key(1, 16)), Err(KeyError::Primary));
        assert_eq!(ring.use_key(&key(9, 16)), Err(KeyError::Unknown));
        assert_eq!(ring.use_key(&key(2, 16)), Ok(true));
        assert_eq!(ring.use_key(&key(2, 16)), Ok(false));
        assert_eq!(ring.keys().collect::<Vec<_>>(), [key(2, 16), key(1, 16)]);
        assert_eq!(ring.remove(&key(1, 16)), Ok(true));
        assert_eq!(ring.remove(&key(1, 16)), Ok(false));
        for n in 10..10 + MAX_KEYS as u8 - 1 {
            ring.install(key(n, 16)).unwrap();
        }
        assert_eq!(ring.install(key(99, 16)), Err(KeyError::Full));
    }

    #[test]
    fn keys_read_as_users_write_them_and_are_not_shown() {
        let text = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=";
        let key = Key::from_base64(text).unwrap();
        assert_eq!((key.to_base64().as_str(), key.as_bytes().len()), (text, 32));
        assert_eq!(format!("{key:?}"), "Key(32 bytes)");
        assert_eq!(Key::from_base64("short"), Err(KeyError::Base64));
        assert_eq!(Key::from_base64("c2hvcnQ="), Err(KeyError::Size));
    }
}
