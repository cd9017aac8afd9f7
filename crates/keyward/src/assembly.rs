//! From the configuration to what the engine works on: one [`Managed`] per secret.

use crate::config::{Admin, ApproleSecretId, Config, KindConfig, Login, ManualCheck, Mode, SecretConfig};
use crate::ports::{
    ApproleIssuer, ConsumerPostgres, ExecIssuer, FileDelivery, HttpAcceptance, HttpIssuer, LeasePort, LoginAcceptance, PostgresPort,
    RedisPort, RootPort, SystemClock, TransitPort, UsageReaders, VaultPort,
};
use crate::references::Resolver;
use jiff::Timestamp;
use keyward_engine::kinds::{
    FromIssuer, JwtHmac, JwtKeypair, Manual, PostgresPassword, PostgresTwoUsers, Random, RedisPassword, TransitKey, VaultDynamicLease,
    VaultRoot, VaultStaticRole,
};
use keyward_engine::ports::{Acceptance, Delivery, Issuer};
use keyward_engine::{Kind, Shape, Spec};
use keyward_rotation::schedule::Policy;
use keyward_rotation::table::{APPROLE_SECRET_ID, APPROLE_SECRET_ID_FILE, EXEC, HTTP_API_KEY, Table};
use keyward_targets::postgres::PostgresUrl;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A secret with everything that rotates it.
#[derive(Clone)]
pub struct Managed {
    /// For the engine.
    pub spec: Spec,
    /// For the planner.
    pub policy: Arc<Policy>,
    /// As configured.
    pub config: Arc<SecretConfig>,
}

impl Managed {
    /// Whether only a person can bring its values.
    pub fn is_manual(&self) -> bool {
        matches!(self.config.kind, KindConfig::Manual(_))
    }

    /// Whether it is only watched.
    pub fn observes(&self) -> bool {
        self.config.mode == Mode::Observe
    }
}

/// What the kinds are built over.
pub struct Parts {
    /// Vault.
    pub vault: Arc<VaultPort>,
    /// References.
    pub resolver: Arc<Resolver>,
    /// Who reads what.
    pub readers: Arc<UsageReaders>,
}

/// Every configured secret, by name.
pub fn assemble(config: &Config, parts: &Parts) -> BTreeMap<String, Managed> {
    let mut policies: BTreeMap<&str, Arc<Policy>> = BTreeMap::new();
    let managed = |secret: &SecretConfig, policy: &Arc<Policy>| Managed {
        spec: Spec { name: secret.name.clone(), kind: kind(secret, parts) },
        policy: Arc::clone(policy),
        config: Arc::new(secret.clone()),
    };
    let mut all = BTreeMap::new();
    for secret in &config.secrets {
        // Secrets of a class share one policy: the planner works out a class's slots once.
        let policy = policies.entry(&secret.class).or_insert_with(|| Arc::new(secret.policy.clone()));
        all.insert(secret.name.clone(), managed(secret, policy));
    }
    all
}

fn kind(secret: &SecretConfig, parts: &Parts) -> Arc<dyn Kind> {
    match &secret.kind {
        KindConfig::PostgresTwoUsers(k) => Arc::new(PostgresTwoUsers {
            secret: secret.name.clone(),
            target: Arc::new(postgres(&k.admin, &k.login, parts)),
            users: k.users.clone(),
            path: k.path.clone(),
            shape: k.set.clone(),
            generator: secret.generator.clone(),
            retire: secret.retire,
            grace: secret.grace,
            readers: parts.readers.clone(),
        }),
        KindConfig::PostgresPassword(k) => Arc::new(PostgresPassword {
            secret: secret.name.clone(),
            target: Arc::new(postgres(&k.admin, &k.login, parts)),
            user: k.user.clone(),
            path: k.path.clone(),
            shape: k.set.clone(),
            generator: secret.generator.clone(),
        }),
        KindConfig::VaultStaticRole(k) => Arc::new(VaultStaticRole {
            vault: parts.vault.clone(),
            role: format!("{}/static-roles/{}", k.mount, k.role),
            login: Arc::new(logins(&k.login, "password")),
            copy: k.copy.as_ref().map(|copy| (copy.path.clone(), copy.set.clone())),
            interval: secret.policy.schedule.shortest_interval(),
        }),
        KindConfig::VaultDynamicLease(k) => Arc::new(VaultDynamicLease {
            secret: secret.name.clone(),
            vault: Arc::new(LeasePort {
                vault: parts.vault.clone(),
                mount: k.mount.clone(),
                role: k.role.clone(),
                token_role: k.token_role.clone(),
            }),
            target: Arc::new(ConsumerPostgres { logins: ways(&k.login) }),
            path: k.path.clone(),
            shape: k.set.clone(),
            needs: secret.policy.longest_gap(&secret.name, Timestamp::now()).saturating_add(secret.grace),
            retire: secret.retire,
            grace: secret.grace,
            readers: parts.readers.clone(),
        }),
        KindConfig::VaultRoot(k) => Arc::new(VaultRoot {
            secret: secret.name.clone(),
            vault: Arc::new(RootPort {
                vault: parts.vault.clone(),
                mount: k.mount.clone(),
                connection: k.connection.clone(),
                canary: k.canary.clone(),
                logins: ways(&k.login),
            }),
            target: Arc::new(postgres(&k.admin, &k.login, parts)),
            method: k.method,
            generator: secret.generator.clone(),
            clock: Arc::new(SystemClock::default()),
        }),
        KindConfig::RedisPassword(k) => Arc::new(RedisPassword {
            secret: secret.name.clone(),
            target: Arc::new(RedisPort {
                nodes: k.nodes.clone(),
                admin: k.admin.user.clone(),
                resolver: parts.resolver.clone(),
                password: k.admin.password.clone(),
                probe: k.probe.clone(),
            }),
            user: k.user.clone(),
            path: k.path.clone(),
            shape: k.set.clone(),
            generator: secret.generator.clone(),
            retire: secret.retire,
            grace: secret.grace,
            readers: parts.readers.clone(),
        }),
        KindConfig::Manual(k) => Arc::new(Manual { path: k.path.clone(), shape: k.set.clone(), verify: k.check.as_ref().map(acceptance) }),
        KindConfig::Random(k) => {
            Arc::new(Random { path: k.path.clone(), shape: k.set.clone(), generator: secret.generator.clone(), grace: secret.grace })
        }
        KindConfig::JwtHmac(k) => Arc::new(JwtHmac {
            path: k.path.clone(),
            fields: k.fields.clone(),
            algorithm: k.algorithm.name().to_owned(),
            generator: secret.generator.clone(),
            token_lifetime: k.token_lifetime,
            propagation: k.propagation,
        }),
        KindConfig::JwtKeypair(k) => Arc::new(JwtKeypair {
            vault: parts.vault.clone(),
            clock: Arc::new(SystemClock::default()),
            path: k.path.clone(),
            fields: k.fields.clone(),
            jwks_path: k.jwks_path.clone(),
            jwks_field: k.jwks_field.clone(),
            algorithm: k.algorithm,
            token_lifetime: k.token_lifetime,
            cache_lifetime: k.cache_lifetime,
            skew: k.skew,
        }),
        KindConfig::TransitKey(k) => Arc::new(TransitKey {
            key: Arc::new(TransitPort { vault: parts.vault.clone(), mount: k.mount.clone(), key: k.key.clone() }),
            name: format!("{}/keys/{}", k.mount, k.key),
            keep_versions: k.keep_versions,
            grace: secret.grace,
            interval: secret.policy.schedule.shortest_interval(),
        }),
        KindConfig::HttpApiKey(k) => {
            let (api, credentials, resolver) = (k.api.clone(), k.credentials.clone(), parts.resolver.clone());
            let issuer = HttpIssuer { secret: secret.name.clone(), api, credentials, resolver };
            Arc::new(from_issuer(secret, parts, &HTTP_API_KEY, Arc::new(issuer), &k.set))
        }
        KindConfig::Exec(k) => {
            let issuer = ExecIssuer { secret: secret.name.clone(), program: k.program.clone(), lists: k.lists };
            Arc::new(from_issuer(secret, parts, &EXEC, Arc::new(issuer), &k.set))
        }
        KindConfig::ApproleSecretId(k) => Arc::new(approle(secret, parts, k)),
    }
}

/// A kind whose values somebody else makes.
fn from_issuer(secret: &SecretConfig, parts: &Parts, table: &'static Table, issuer: Arc<dyn Issuer>, set: &Shape) -> FromIssuer {
    FromIssuer {
        table,
        secret: secret.name.clone(),
        issuer,
        path: secret.kind.path().unwrap_or_default().to_owned(),
        shape: set.clone(),
        tries_wrong: true,
        delivery: None,
        retire: secret.retire,
        grace: secret.grace,
        readers: parts.readers.clone(),
    }
}

fn approle(secret: &SecretConfig, parts: &Parts, k: &ApproleSecretId) -> FromIssuer {
    let (mount, role) = (k.mount.clone(), k.role.clone());
    let must_live = secret.policy.schedule.shortest_interval().saturating_add(secret.grace);
    let issuer = Arc::new(ApproleIssuer { vault: parts.vault.clone(), mount, role, wrap: k.wrap, must_live });
    let delivery = k.file.clone().map(|file| (Arc::new(FileDelivery(file)) as Arc<dyn Delivery>, k.delivered().to_owned()));
    let table = if delivery.is_some() { &APPROLE_SECRET_ID_FILE } else { &APPROLE_SECRET_ID };
    // Nothing wrong is tried: refused logins lock the role for everybody.
    FromIssuer { tries_wrong: false, delivery, ..from_issuer(secret, parts, table, issuer, &k.set) }
}

fn acceptance(check: &ManualCheck) -> Arc<dyn Acceptance> {
    match check {
        ManualCheck::Login(login) => Arc::new(logins(login, "value")),
        ManualCheck::Http(http) => Arc::new(HttpAcceptance {
            url: http.get.to_string(),
            headers: http.header.clone(),
            expect: http.expect,
            root_cert: http.ca_cert.clone(),
        }),
    }
}

fn ways(logins: &[Login]) -> Vec<(PostgresUrl, Option<String>)> {
    logins.iter().map(|login| (login.url.clone(), login.probe.clone())).collect()
}

fn postgres(admin: &Admin, login: &[Login], parts: &Parts) -> PostgresPort {
    PostgresPort { admin: admin.url.clone(), resolver: parts.resolver.clone(), password: admin.password.clone(), logins: ways(login) }
}

fn logins(login: &[Login], password: &'static str) -> LoginAcceptance {
    let user = login.first().and_then(|l| l.url.user().map(str::to_owned));
    LoginAcceptance { logins: ways(login), user, password }
}
