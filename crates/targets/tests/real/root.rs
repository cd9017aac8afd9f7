//! What Vault's own login needs: a change barred for ever, a role seen to be altered, and what one user sees of another.

use crate::{Ground, LIMIT, change, value};
use keyward_harness::servers;
use keyward_targets::postgres::{FailureClass, FenceAnswer, Phase, login, sessions_seen_by};

#[tokio::test]
async fn a_barred_change_is_refused_for_ever_and_one_that_passed_is_told() {
    let ground = Ground::installed().await;
    let (admin, (role, old)) = (ground.admin(), ground.role());
    let (first, second) = (change(&role, 1, Phase::Apply, "r-1"), change(&role, 2, Phase::Apply, "r-2"));
    for _ in 0..2 {
        assert!(admin.bar(&first).await.unwrap(), "it had not passed");
    }
    assert!(!admin.has_passed(&first).await.unwrap());
    assert!(matches!(admin.apply(&first, &value()).await.unwrap(), FenceAnswer::Fenced(_)));
    login(&ground.endpoint(), &role, &old, None, LIMIT).await.unwrap();

    let new = value();
    assert_eq!(admin.apply(&second, &new).await.unwrap(), FenceAnswer::Applied);
    assert!(admin.has_passed(&second).await.unwrap());
    assert!(!admin.bar(&second).await.unwrap(), "it has passed");
    assert_eq!(admin.apply(&second, &new).await.unwrap(), FenceAnswer::Applied, "barring too late changes nothing");
    assert!(admin.bar(&first).await.unwrap(), "an older one can never pass");
    assert_eq!(admin.fence(&role).await.unwrap().unwrap().number, 2);
}

#[tokio::test]
async fn an_altered_role_has_another_row_and_who_may_not_see_it_is_told() {
    let ground = Ground::installed().await;
    let (admin, (role, _)) = (ground.admin(), ground.role());
    let refused = admin.row_version(&role).await.unwrap_err().to_string();
    assert!(refused.contains("pg_authid"), "{refused}");
    ground.psql(&format!("GRANT SELECT ON pg_authid TO {}", ground.admin_role));
    let before = admin.row_version(&role).await.unwrap();
    assert_eq!(admin.row_version(&role).await.unwrap(), before);
    admin.apply(&change(&role, 1, Phase::Apply, "r-1"), &value()).await.unwrap();
    assert_ne!(admin.row_version(&role).await.unwrap(), before);
    assert!(admin.row_version("no such role").await.is_err());
}

#[tokio::test]
async fn a_user_sees_that_another_one_exists_and_is_connected() {
    let ground = Ground::bare();
    let (endpoint, (seer, password), (seen, _)) = (ground.endpoint(), ground.role(), ground.role());
    let look = async |whom: &str| sessions_seen_by(&endpoint, &seer, &password, whom, LIMIT).await.unwrap();
    assert!(look("no such role").await.is_none());
    assert_eq!(look(&seen).await.unwrap().len(), 0);
    // PostgreSQL ends the sessions of the looks before a moment after their connections.
    assert!((1..=3).contains(&look(&seer).await.unwrap().len()), "its own");
    servers().postgres().psql(&format!("DROP ROLE {seen}")).unwrap();
    assert!(look(&seen).await.is_none());
    let wrong = sessions_seen_by(&endpoint, &seer, &value(), &seen, LIMIT).await.unwrap_err();
    assert_eq!(wrong.class, FailureClass::WrongPassword);
}
