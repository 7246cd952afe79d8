package ostiary.subject_test

import data.ostiary.subject

resource(type, names) := {"resource": {"type": type, "names": names, "owner": null, "origin": "created"}}

test_types[type] if {
	some type, spellings in {
		"model": {"model"},
		"vector_store": {"vector_db", "vector_store"},
		"sql_record::openai_files": {"sql_record::openai_files"},
	}
	subject.types == spellings with input as resource(type, ["a"])
}

test_subjects[name] if {
	some name, case in {
		"one name": {"question": resource("model", ["a"]), "subjects": {"model::a"}},
		"every alias": {
			"question": resource("model", ["vllm/llama-3", "vllm/mine", "mine"]),
			"subjects": {"model::mine", "model::vllm/llama-3", "model::vllm/mine"},
		},
		"both spellings of every name": {
			"question": resource("vector_store", ["a", "b"]),
			"subjects": {"vector_db::a", "vector_db::b", "vector_store::a", "vector_store::b"},
		},
		"a record": {
			"question": resource("sql_record::openai_files", ["file-1"]),
			"subjects": {"sql_record::openai_files::file-1"},
		},
		"a record of a table with two names": {
			"question": {"resource": object.union(
				resource("sql_record::openai_files", ["file-1"]).resource,
				{"types": ["sql_record::openai_files", "sql_record::my_files"]},
			)},
			"subjects": {"sql_record::my_files::file-1", "sql_record::openai_files::file-1"},
		},
		"colons in a name": {"question": resource("tool", ["a::b"]), "subjects": {"tool::a::b"}},
		"an empty name": {"question": resource("tool", [""]), "subjects": {"tool::"}},
		"no name": {"question": resource("tool", []), "subjects": set()},
		"no resource": {"question": {}, "subjects": set()},
	}
	subject.subjects == case.subjects with input as case.question
}
