//! Expressions.

use expect_test::expect;

use super::support::check_values;

#[test]
fn operators_calculate_exactly_and_convert_their_operands() {
    check_values(
        &[
            "1 + 2 * 3",
            "0.1 + 0.2",
            "10 / 4",
            "1 / 3",
            "-7 % 3",
            "\"5\" + 1",
            "2 > 1 && !false",
            "1 == \"1\"",
            "true ? 1 : \"a\"",
            "null == null",
            "1 / 0",
            "true + 1",
            "[1, 2][1]",
            "{ a = { b = 3 } }.a.b",
            "[1][5]",
        ],
        expect![[r#"
            1 + 2 * 3 = 7
            0.1 + 0.2 = 0.3
            10 / 4 = 2.5
            1 / 3 = 0.3333333333333333
            -7 % 3 = -1
            "5" + 1 = 6
            2 > 1 && !false = true
            1 == "1" = false
            true ? 1 : "a" = "1"
            null == null = true
            1 / 0 = error: docker-bake.hcl:1,20: division by zero
            true + 1 = error: docker-bake.hcl:1,20: a number is required, but have bool
            [1, 2][1] = 2
            { a = { b = 3 } }.a.b = 3
            [1][5] = error: docker-bake.hcl:1,20: the index 5 is not one of the 1 elements
        "#]],
    );
}

#[test]
fn templates_strings_and_loops_give_text() {
    check_values(
        &[
            r#""a${1 + 1}b""#,
            r#""$${x} %%{y}""#,
            r#""${[1]}""#,
            r#""%{ if true }yes%{ else }no%{ endif }""#,
            r#""%{ for x in ["a", "b"] }<${x}>%{ endfor }""#,
            r#""x ${~ "y" ~} z""#,
            "[for i, x in [\"a\", \"b\"] : \"${i}${x}\"]",
            "{for k, v in {a = 1, b = 2} : k => v * 2 if v > 1}",
            "{for x in [\"a\", \"b\", \"a\"] : x => 1...}",
            "[{a = 1}, {a = 2}].*.a",
            "[{a = [1]}, {a = [2]}][*].a[0]",
            "null[*]",
        ],
        expect![[r#"
            "a${1 + 1}b" = "a2b"
            "$${x} %%{y}" = "${x} %{y}"
            "${[1]}" = [1]
            "%{ if true }yes%{ else }no%{ endif }" = "yes"
            "%{ for x in ["a", "b"] }<${x}>%{ endfor }" = "\u003ca\u003e\u003cb\u003e"
            "x ${~ "y" ~} z" = "xyz"
            [for i, x in ["a", "b"] : "${i}${x}"] = ["0a","1b"]
            {for k, v in {a = 1, b = 2} : k => v * 2 if v > 1} = {"b":4}
            {for x in ["a", "b", "a"] : x => 1...} = {"a":[1,1],"b":[1]}
            [{a = 1}, {a = 2}].*.a = [1,2]
            [{a = [1]}, {a = [2]}][*].a[0] = [1,2]
            null[*] = []
        "#]],
    );
}
