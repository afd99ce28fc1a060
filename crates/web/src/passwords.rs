//! Passwords of users, in clear text or hashed (`RegisteredUsers`).

use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// User names and what each must know.
#[derive(Clone, Default)]
pub struct Users(Arc<Inner>);

struct Inner {
    secrets: BTreeMap<String, Secret>,
    /// The right passwords that hashes were compared with: a check takes long, and clients send theirs with each request.
    seen: Mutex<HashMap<String, u128>>,
    fingerprint: [RandomState; 2],
    /// Checks take much memory each: few at once.
    checks: Semaphore,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            secrets: BTreeMap::new(),
            seen: Mutex::default(),
            fingerprint: [RandomState::new(), RandomState::new()],
            checks: Semaphore::new(CHECKS),
        }
    }
}

enum Secret {
    Plain(String),
    /// In the PHC format.
    Argon2(String),
}

/// What a hashed password begins with.
const HASHED: &str = "{argon2}";
/// Hashes computed at once.
const CHECKS: usize = 2;
/// Memory that one hash may take, in KiB.
const MAX_MEMORY_KIB: u32 = 1 << 20;

impl Users {
    /// Takes passwords in clear text, and `{argon2}` followed by a hash in the PHC format
    /// (`$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`).
    ///
    /// # Errors
    /// Names a user whose hash cannot be read.
    pub fn new(passwords: BTreeMap<String, String>) -> Result<Self, String> {
        let secret = |(name, password): (String, String)| {
            let Some(hash) = password.strip_prefix(HASHED) else { return Ok((name, Secret::Plain(password))) };
            if is_usable(hash) {
                return Ok((name, Secret::Argon2(hash.to_owned())));
            }
            Err(format!("{name}: what follows {HASHED} is no hash such as $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH"))
        };
        let secrets = passwords.into_iter().map(secret).collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Inner { secrets, ..Inner::default() })))
    }

    /// Whether this is the user's password.
    pub(crate) async fn check(&self, user: &str, password: &str) -> bool {
        match self.0.secrets.get(user) {
            Some(Secret::Plain(expected)) => same(expected.as_bytes(), password.as_bytes()),
            Some(Secret::Argon2(hash)) => self.check_hash(user, hash, password).await,
            None => false,
        }
    }

    async fn check_hash(&self, user: &str, hash: &str, password: &str) -> bool {
        let [a, b] = &self.0.fingerprint;
        let print = u128::from(a.hash_one(password)) << 64 | u128::from(b.hash_one(password));
        if self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).get(user) == Some(&print) {
            return true;
        }
        let Ok(_permit) = self.0.checks.acquire().await else { return false };
        let (hash, password) = (hash.to_owned(), password.to_owned());
        let check = move || {
            let hash = PasswordHash::new(&hash);
            hash.is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        };
        let is_right = tokio::task::spawn_blocking(check).await.unwrap_or(false);
        if is_right {
            self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(user.to_owned(), print);
        }
        is_right
    }
}

/// Whether a text is a hash of Argon2 that does not take too much to check.
fn is_usable(text: &str) -> bool {
    let Ok(hash) = PasswordHash::new(text) else { return false };
    let is_argon2 = Algorithm::new(hash.algorithm.as_str()).is_ok();
    is_argon2 && hash.salt.is_some() && hash.hash.is_some() && Params::try_from(&hash).is_ok_and(|p| p.m_cost() <= MAX_MEMORY_KIB)
}

/// Compares in a time that depends on the length of the guess only.
fn same(expected: &[u8], guess: &[u8]) -> bool {
    let mut difference = expected.len() ^ guess.len();
    for (i, byte) in guess.iter().enumerate() {
        difference |= usize::from(byte ^ expected.get(i).copied().unwrap_or(0));
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of "secret", made by the reference implementation.
    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$TnNENIMeLRvqw/9I9+8LOQ$s0z/090D4x6vIyISy6XvqTVGEoYC280addvdsBnqj7c";

    fn users(password: &str) -> Result<Users, String> {
        Users::new(BTreeMap::from([("alice".into(), password.into()), ("bob".into(), "plain".into())]))
    }

    #[tokio::test]
    async fn hashed_and_plain_passwords_stand_side_by_side() {
        let users = users(&format!("{{argon2}}{HASH}")).unwrap();
        for _ in 0..2 {
            assert!(users.check("alice", "secret").await && users.check("bob", "plain").await);
            for (name, bad) in [("alice", "secre"), ("alice", ""), ("alice", HASH), ("bob", "secret"), ("carol", "secret")] {
                assert!(!users.check(name, bad).await, "{name}: {bad}");
            }
        }
    }

    #[test]
    fn what_is_no_hash_is_refused_without_being_shown() {
        let huge = HASH.replace("m=19456", "m=4194304");
        let cut = HASH.rsplit_once('$').unwrap().0;
        for bad in ["", "hide", "$argon2x$v=19$m=8,t=1,p=1$hide", "$scrypt$ln=1,r=8,p=1$c2FsdHNhbHQ$hide", &huge, cut] {
            let error = users(&format!("{{argon2}}{bad}")).err().unwrap();
            assert!(error.starts_with("alice: ") && !error.contains("hide"), "{error}");
        }
    }
}
