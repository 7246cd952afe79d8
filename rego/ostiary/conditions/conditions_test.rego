package ostiary.conditions_test

import data.ostiary.conditions

alice := {"id": "alice", "issuer": "https://a.example", "attributes": {"teams": ["ml", "infra"], "roles": []}}

colleague := {"id": "carol", "issuer": "https://a.example", "attributes": {"teams": ["infra"]}}

stranger := {"id": "mallory", "issuer": "https://a.example", "attributes": {"teams": ["sales"], "roles": ["ml"]}}

namesake := {"id": "alice", "issuer": "https://b.example", "attributes": {"teams": ["ml"]}}

bare := {"id": "bob", "issuer": "", "attributes": {}}

reads(principal, owner) := {
	"principal": principal,
	"action": "read",
	"resource": {"type": "prompt", "names": ["p"], "owner": owner, "origin": "created"},
}

creates(principal, owner) := object.union(reads(principal, owner), {"action": "create"})

test_authenticated if {
	conditions.authenticated with input as reads(alice, null)
}

test_not_authenticated[name] if {
	some name, question in {
		"anonymous": reads(null, null),
		"no principal at all": {},
		"a principal that is text": reads("alice", null),
		"a principal that is true": reads(true, null),
		"a principal that is a list": reads([alice], null),
	}
	not conditions.authenticated with input as question
}

test_has_value[name] if {
	some name, principal in {
		"one of several": alice,
		"the only one": colleague,
		"repeated": object.union(bare, {"attributes": {"teams": ["infra", "infra"]}}),
	}
	conditions.has_value("infra", "teams") with input as reads(principal, null)
}

test_has_no_value[name] if {
	some name, principal in {
		"another value": stranger,
		"the value in another attribute": object.union(bare, {"attributes": {"roles": ["infra"]}}),
		"an empty attribute": object.union(bare, {"attributes": {"teams": []}}),
		"an absent attribute": bare,
		"absent attributes": {"id": "bob", "issuer": ""},
		"a text that holds the value": object.union(bare, {"attributes": {"teams": "infra"}}),
		"another case": object.union(bare, {"attributes": {"teams": ["Infra"]}}),
		"anonymous": null,
	}
	not conditions.has_value("infra", "teams") with input as reads(principal, null)
}

test_authentication_is_off_for_nobody if {
	conditions.authentication_off with input as reads(null, null) with data.ostiary.settings.authentication as "off"
}

test_authentication_is_not_off[name] if {
	some name, case in {
		"somebody is named": {"question": reads(alice, null), "setting": "off"},
		"it is configured": {"question": reads(null, null), "setting": "configured"},
		"an unknown setting": {"question": reads(null, null), "setting": "maybe"},
		"no principal in the question": {"question": {}, "setting": "off"},
		"the principal is false": {"question": reads(false, null), "setting": "off"},
	}
	not conditions.authentication_off with input as case.question
		with data.ostiary.settings.authentication as case.setting
}

test_authentication_is_not_off_without_settings if {
	not conditions.authentication_off with input as reads(null, null) with data.ostiary.settings as {}
}

test_owner[name] if {
	some name, case in {
		"as stored": {"question": reads(alice, colleague), "owner": colleague},
		"as stored, asked by nobody": {"question": reads(null, colleague), "owner": colleague},
		"of a create, the caller": {"question": creates(alice, null), "owner": alice},
		"of a create, never what the question says": {"question": creates(alice, stranger), "owner": alice},
		"without any action": {"question": {"principal": alice, "resource": {"owner": colleague}}, "owner": colleague},
	}
	conditions.owner == case.owner with input as case.question
}

test_no_owner[name] if {
	some name, question in {
		"null": reads(alice, null),
		"absent": {"principal": alice, "action": "read", "resource": {}},
		"text": reads(alice, "alice"),
		"an anonymous create": creates(null, null),
		"an anonymous create that claims an owner": creates(null, alice),
	}
	not conditions.owner with input as question
}

test_user_is_owner[name] if {
	some name, question in {
		"same id and issuer": reads(alice, alice),
		"attributes may have changed": reads(object.union(alice, {"attributes": {}}), alice),
		"create": creates(alice, null),
		"a create that claims another owner": creates(alice, stranger),
		"empty issuers": reads(bare, bare),
	}
	conditions.user_is_owner with input as question
}

test_user_is_not_owner[name] if {
	some name, question in {
		"another id": reads(alice, colleague),
		"the same id from another issuer": reads(alice, namesake),
		"no owner": reads(alice, null),
		"an owner without an id": reads({"attributes": {}}, {"attributes": {}}),
		"an owner without an issuer": reads({"id": "a"}, {"id": "a"}),
		"anonymous": reads(null, alice),
		"anonymous and no owner": reads(null, null),
		"an anonymous create": creates(null, null),
		"a different case": reads(object.union(alice, {"id": "Alice"}), alice),
	}
	not conditions.user_is_owner with input as question
}

test_shares_with_owner[name] if {
	some name, question in {
		"one value in common": reads(colleague, alice),
		"the other way round": reads(alice, colleague),
		"from another issuer": reads(namesake, alice),
		"a create shares with itself": creates(alice, null),
	}
	conditions.shares_with_owner("teams") with input as question
}

test_does_not_share_with_owner[name] if {
	some name, question in {
		"no value in common": reads(stranger, alice),
		"the same value in another attribute": reads(stranger, namesake),
		"the caller has none": reads(bare, alice),
		"the owner has none": reads(alice, bare),
		"both have none": reads(bare, bare),
		"no owner": reads(alice, null),
		"anonymous": reads(null, alice),
		"a create without the attribute": creates(bare, null),
	}
	not conditions.shares_with_owner("teams") with input as question
}

test_an_empty_attribute_is_not_shared if {
	not conditions.shares_with_owner("roles") with input as reads(alice, alice)
}

test_unowned[name] if {
	some name, question in {
		"read by somebody": reads(alice, null),
		"read by nobody": reads(null, null),
		"an anonymous create": creates(null, null),
	}
	conditions.unowned with input as question
}

test_not_unowned[name] if {
	some name, question in {
		"owned by another": reads(alice, colleague),
		"asked by nobody": reads(null, colleague),
		"create": creates(alice, null),
	}
	not conditions.unowned with input as question
}

test_from_config if {
	conditions.from_config with input as {"resource": {"origin": "config"}}
}

test_not_from_config[name] if {
	some name, question in {
		"created": reads(alice, null),
		"another word": {"resource": {"origin": "Config"}},
		"not said": {"resource": {}},
	}
	not conditions.from_config with input as question
}
