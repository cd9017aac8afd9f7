use super::*;
use serde_json::json;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn check(thing: Thing, found: Found, expected: &Verdict) {
    let item = Item { name: "thing".into(), thing };
    assert_eq!(judge(&item, &found, &BTreeSet::from(["reporting".to_owned()])), *expected, "{item:?} {found:?}");
}

fn role(path: &str, rotates: Option<&str>) -> Thing {
    let body = object(json!({ "period": 3600, "names": ["a", "b"], "none": [] }));
    Thing::Object { path: path.into(), body, at_first: Map::new(), has_create: true, rotates: rotates.map(str::to_owned) }
}

#[test]
fn fields_are_compared_and_others_are_left_alone() {
    let same = json!({ "period": 3600, "names": ["b", "a"], "none": null, "more": 1 });
    check(role("x", None), Found::Object(Some(object(same))), &Verdict::Unchanged);
    check(role("x", None), Found::Object(None), &Verdict::Create);
    let other = json!({ "period": 60, "names": ["b", "a"] });
    check(role("x", None), Found::Object(Some(object(other))), &Verdict::Change(vec!["period: 60 becomes 3600".into()]));
}

#[test]
fn a_network_of_one_is_its_address() {
    let check = |there: Value, expected: &Verdict| {
        let wanted = object(json!({ "token_bound_cidrs": ["192.0.2.7/32", "::1/128", "10.0.0.0/8"] }));
        assert_eq!(compared(&wanted, &object(json!({ "token_bound_cidrs": there }))), *expected);
    };
    check(json!(["10.0.0.0/8", "192.0.2.7", "::1"]), &Verdict::Unchanged);
    let changed = "token_bound_cidrs: [\"192.0.2.7\"] becomes [\"192.0.2.7/32\",\"::1/128\",\"10.0.0.0/8\"]";
    check(json!(["192.0.2.7"]), &Verdict::Change(vec![changed.to_owned()]));
}

#[test]
fn a_password_is_changed_only_where_that_was_said() {
    check(role("db/static-roles/reporting", Some("r")), Found::Object(None), &Verdict::Create);
    let item = Item { name: "x".into(), thing: role("db/static-roles/billing", Some("billing_user")) };
    let Verdict::Held(why) = judge(&item, &Found::Object(None), &BTreeSet::from(["reporting".to_owned()])) else { panic!() };
    assert!(why.contains("password of billing_user at once") && why.contains("--rotate-now billing"), "{why}");
    let same = json!({ "period": 3600, "names": ["a", "b"] });
    check(role("db/static-roles/billing", Some("billing_user")), Found::Object(Some(object(same))), &Verdict::Unchanged);
}

#[test]
fn what_is_somebody_elses_is_refused() {
    let policy = |text: &str| Thing::Policy { name: "p".into(), text: text.into(), narrower: "narrow".into() };
    check(policy("# Made by Keyward: a\n"), Found::Policy(Some("# Made by Keyward: a".into())), &Verdict::Unchanged);
    check(policy("# Made by Keyward: a\n"), Found::Policy(Some("narrow\n".into())), &Verdict::Unchanged);
    let foreign = judge(
        &Item { name: "p".into(), thing: policy("# Made by Keyward: a\n") },
        &Found::Policy(Some("path \"*\" {}".into())),
        &BTreeSet::new(),
    );
    assert!(matches!(foreign, Verdict::Refused(_)), "{foreign:?}");
    let mount = Thing::Mount { is_auth: false, path: "secret".into(), kind: "kv", is_kv: true };
    check(mount.clone(), Found::Mount(Some(("kv".into(), Some(2)))), &Verdict::Unchanged);
    for there in [("kv", Some(1)), ("transit", None)] {
        let item = Item { name: "m".into(), thing: mount.clone() };
        let verdict = judge(&item, &Found::Mount(Some((there.0.into(), there.1))), &BTreeSet::new());
        assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
    }
}

#[test]
fn a_policy_says_which_paths_go_and_come() {
    let text = |path: &str| format!("# Made by Keyward: x.\n\n# why\npath \"{path}\" {{\n  capabilities = [\"read\"]\n}}\n");
    let expected = ["- \"a\" [\"read\"]", "+ \"b\" [\"read\"]"].map(str::to_owned).to_vec();
    assert_eq!(lines(&text("a"), &text("b")), expected);
}

#[test]
fn vault_gets_a_user_that_nobody_else_has() {
    let user = |comment: &str, is_superuser| EngineUser { comment: comment.into(), may_create_roles: true, is_superuser, may_log_in: true };
    assert_eq!(engine_user("v", "ours", None, false), Verdict::Create);
    assert_eq!(engine_user("v", "ours", Some(&user("ours", false)), false), Verdict::Unchanged);
    assert_eq!(engine_user("v", "ours", Some(&user("", false)), true), Verdict::Unchanged);
    for refused in [
        engine_user("v", "ours", Some(&user("", false)), false),
        engine_user("v", "ours", Some(&user("ours", true)), true),
        engine_user("v", "ours", None, true),
    ] {
        assert!(matches!(refused, Verdict::Refused(_)), "{refused:?}");
    }
}

#[test]
fn another_device_of_that_name_is_not_touched() {
    let device = |path: &str, file: &str| AuditDevice {
        path: path.into(),
        kind: "file".into(),
        file_path: Some(file.into()),
        raw: false,
        options: std::collections::BTreeMap::new(),
    };
    assert_eq!(audit("file", "/a", &[]), Verdict::Create);
    assert_eq!(audit("file", "/a", &[device("other/", "/a")]), Verdict::Unchanged);
    assert_eq!(audit("file", "/a", &[device("other/", "/b")]), Verdict::Create);
    assert!(matches!(audit("file", "/a", &[device("file/", "/b")]), Verdict::Refused(_)));
}
