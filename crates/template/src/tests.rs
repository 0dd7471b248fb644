use serde_json::json;

use super::*;

fn render(text: &str, data: &Value) -> String {
    match Template::parse(text).and_then(|template| template.execute(data)) {
        Ok(out) => out,
        Err(error) => format!("ERROR {error}"),
    }
}

fn container() -> Value {
    json!({
        "Id": "4f2c", "Name": "/web", "Created": 17, "Ratio": 0.25,
        "State": { "Running": true, "ExitCode": 0, "Error": "", "Health": null },
        "Config": {
            "Env": ["A=1", "B=2"], "Labels": { "b": "2", "a": "1" }, "Cmd": null, "Volumes": null, "Image": "busybox",
        },
        "Mounts": [{ "Source": "/a", "RW": true }, { "Source": "/b", "RW": false }],
        "Ports": { "80/tcp": {} }, "Empty": [], "Html": "<a href=\"x\">&</a>",
    })
}

/// What Go prints for the same template and data.
#[test]
fn templates_print_what_go_prints() {
    let data = container();
    for (text, want) in [
        ("plain", "plain"),
        ("{{.Id}}", "4f2c"),
        ("{{ .State.Running }} {{.State.ExitCode}}", "true 0"),
        ("{{.Config.Env}}", "[A=1 B=2]"),
        ("{{.Config.Labels}}", "map[a:1 b:2]"),
        ("{{.Config.Labels.a}}", "1"),
        ("{{.Config.Labels.zz}}", "<no value>"),
        ("{{index .Config.Labels \"b\"}}", "2"),
        ("[{{index .Config.Labels \"zz\"}}]", "[]"),
        ("{{index .Config.Env 1}}", "B=2"),
        ("{{(index .Mounts 0).Source}}", "/a"),
        ("{{.Config.Cmd}} {{len .Config.Cmd}} {{range .Config.Cmd}}x{{else}}none{{end}}", "[] 0 none"),
        ("{{.Ports}}", "map[80/tcp:{}]"),
        ("{{.Config.Volumes}} {{.State.Health}} {{if .Config.Cmd}}x{{else}}y{{end}}", "map[] <nil> y"),
        (
            "{{$.State.Health}} {{with .State}}{{.Health}}{{end}} {{printf \"%v\" .Config.Cmd}}",
            "<nil> <nil> []",
        ),
        ("{{json .Config.Env}}", "[\"A=1\",\"B=2\"]"),
        ("{{.State | json}}", "{\"Running\":true,\"ExitCode\":0,\"Error\":\"\",\"Health\":null}"),
        ("{{json .Html}}", "\"<a href=\\\"x\\\">&</a>\""),
        (
            "{{json .Config.Cmd}} {{.Config.Volumes | json}} {{json .Config}}",
            "null null {\"Env\":[\"A=1\",\"B=2\"],\"Labels\":{\"b\":\"2\",\"a\":\"1\"},\"Cmd\":null,\"Volumes\":null,\"Image\":\"busybox\"}",
        ),
        ("{{join .Config.Env \",\"}}", "A=1,B=2"),
        ("{{join .Config.Labels \"/\"}}", "1/2"),
        ("{{.Name | upper}} {{lower \"ABC\"}} {{title \"hello big world\"}}", "/WEB abc Hello Big World"),
        ("{{split \"a:b:c\" \":\"}}", "[a b c]"),
        ("{{truncate .Config.Image 4}}|{{truncate .Id 40}}", "busy|4f2c"),
        ("[{{pad .Id 1 2}}][{{pad \"\" 3 3}}]", "[ 4f2c  ][]"),
        ("{{len .Config.Env}} {{len .Name}}", "2 4"),
        ("{{slice .Name 1}} {{slice .Name 1 2}}", "web w"),
        ("{{println .Id \"x\" 3}}.", "4f2c x 3\n."),
        ("{{print .Id .Name 1 2 true}}", "4f2c/web1 2 true"),
        (
            "{{printf \"%s=%d %5s|%-5s|%05d %q %v %t %.2f%%\" .Id .Created \"r\" \"l\" 42 \"q\" .Config.Env true .Ratio}}",
            "4f2c=17     r|l    |00042 \"q\" [A=1 B=2] true 0.25%",
        ),
        (
            "{{printf \"%d\" \"x\"}} {{printf \"%d\"}} {{printf \"a\" 1}}",
            "%!d(string=x) %!d(MISSING) a%!(EXTRA int=1)",
        ),
        ("{{html .Html}}", "&lt;a href=&#34;x&#34;&gt;&amp;&lt;/a&gt;"),
        ("{{urlquery \"a b&c\"}}", "a+b%26c"),
        ("{{.Ratio}} {{1e6}} {{0x10}} {{'a'}} {{`raw\\n`}}", "0.25 1e+06 16 97 raw\\n"),
    ] {
        assert_eq!(render(text, &data), want, "{text}");
    }
}

#[test]
fn blocks_choose_and_repeat() {
    let data = container();
    for (text, want) in [
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .State.Error}}bad{{else if eq .State.ExitCode 0}}zero{{else}}other{{end}}", "zero"),
        ("{{if not .Empty}}none{{end}}", "none"),
        ("{{if and .State.Running (eq .Id \"4f2c\")}}both{{end}}", "both"),
        ("{{or .State.Error \"fallback\"}} {{and 0 .Nothing}}", "fallback 0"),
        (
            "{{eq .Id \"a\" \"4f2c\"}} {{ne 1 2}} {{lt 1 2}} {{ge \"b\" \"a\"}} {{le 2.5 2.5}}",
            "true true true true true",
        ),
        ("{{range .Config.Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
        ("{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$i}}:{{$e}}{{end}}", "0:A=1, 1:B=2"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;"),
        ("{{range .Empty}}x{{else}}empty{{end}}", "empty"),
        ("{{range .Mounts}}{{if not .RW}}{{break}}{{end}}{{.Source}}{{end}}", "/a"),
        ("{{range .Mounts}}{{if .RW}}{{continue}}{{end}}{{.Source}}{{end}}", "/b"),
        ("{{range .Mounts}}{{.Source}}@{{$.Id}} {{end}}", "/a@4f2c /b@4f2c "),
        ("{{with .State}}{{.ExitCode}}{{end}}{{with .Empty}}x{{else}}-{{end}}", "0-"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "1"),
        ("a  {{- /* note */ -}}  b {{- 1 -}} c", "ab1c"),
        (
            "{{define \"t\"}}[{{.}}]{{end}}{{template \"t\" .Id}}{{block \"u\" .Name}}({{.}}){{end}}",
            "[4f2c](/web)",
        ),
        ("{{range 3}}{{.}}{{end}}", "012"),
    ] {
        assert_eq!(render(text, &data), want, "{text}");
    }
}

#[test]
fn faults_are_named_with_their_place() {
    let data = container();
    for (text, want) in [
        ("{{", "template: :1: unclosed action"),
        ("x\n{{.Id", "template: :2: unclosed action"),
        ("{{.Nope}}", "template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\""),
        (
            "{{.State.Nope}}",
            "template: :1:2: executing \"\" at <.State.Nope>: map has no entry for key \"Nope\"",
        ),
        ("{{.Id.X}}", "template: :1:2: executing \"\" at <.Id.X>: can't evaluate field X in type string"),
        ("{{foo .}}", "template: :1: function \"foo\" not defined"),
        ("{{$x}}", "template: :1: undefined variable \"$x\""),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{if .Id}}", "template: :1: unexpected EOF"),
        ("{{else}}", "template: :1: unexpected {{else}}"),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
        ("{{\"x}}", "template: :1: unterminated quoted string"),
        ("{{/* x }}", "template: :1: unclosed comment"),
        ("{{(1}}", "template: :1: unclosed left paren"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{1 2}}", "template: :1:2: executing \"\" at <1>: can't give argument to non-function 1"),
        (
            "{{index .Config.Env 7}}",
            "template: :1:2: executing \"\" at <index>: error calling index: index out of range: 7",
        ),
        (
            "{{eq 1 \"1\"}}",
            "template: :1:2: executing \"\" at <eq>: error calling eq: incompatible types for comparison",
        ),
        (
            "{{template \"none\"}}",
            "template: :1:2: executing \"\" at <template \"none\">: template \"none\" not defined",
        ),
    ] {
        assert_eq!(render(text, &data), format!("ERROR {want}"), "{text}");
    }
}

#[test]
fn endless_and_deep_templates_end() {
    for endless in [
        "{{range 9223372036854775807}}{{end}}",
        "{{range 100000}}{{range 100000}}{{end}}{{end}}",
        "{{$x := \"ab\"}}{{range 60}}{{$x = print $x $x}}{{end}}{{$x}}",
        "{{$x := \"ab\"}}{{range 60}}{{$x = printf \"%s%s\" $x $x}}{{end}}",
        "{{range 100000}}{{range 1000}}{{printf \"%1000d\" 1}}{{end}}{{end}}",
        "{{define \"a\"}}{{range 50}}{{template \"a\"}}{{end}}{{end}}{{template \"a\"}}",
    ] {
        let said = render(endless, &json!({}));
        assert!(said.contains("too much work") || said.contains("too deeply"), "{endless}: {said:.80}");
    }
    let endless = "{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}";
    assert!(render(endless, &json!({})).contains("too deeply"));
    let deep = "{{".to_owned() + &"(".repeat(100_000) + "1}}";
    assert!(render(&deep, &json!({})).contains("nested too deeply"));
    let blocks = "{{if 1}}".repeat(10_000);
    assert!(render(&blocks, &json!({})).contains("nested too deeply"));
}

#[test]
fn methods_are_no_part_of_the_data() {
    let row = json!({ "Names": "a", "\u{0}Label": { "tier": "front" } });
    assert_eq!(render("{{.Label \"tier\"}} {{json .}} {{.}}", &row), "front {\"Names\":\"a\"} map[Names:a]");
    let deep = json!({ "of": [{ "\u{0}Label": null, "n": { "\u{0}m": 1 } }] });
    assert_eq!(render("{{json .}} {{json .of}}", &deep), r#"{"of":[{"n":{}}]} [{"n":{}}]"#);
}

proptest::proptest! {
    /// Whatever is typed ends, with text or with an error.
    #[test]
    fn no_text_panics_or_runs_for_ever(pieces in proptest::collection::vec(0..PIECES.len(), 0..24)) {
        let text: String = pieces.into_iter().map(|at| PIECES[at]).collect();
        let start = std::time::Instant::now();
        let _said = render(&text, &container());
        proptest::prop_assert!(start.elapsed().as_secs() < 20, "{text}");
    }

    #[test]
    fn no_bytes_panic(text in "\\PC{0,60}") {
        let _said = render(&text, &container());
        let _said = render(&format!("{{{{{text}}}}}"), &container());
    }
}

/// What templates are made of.
const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{- ",
    " -}}",
    "{{end}}",
    "{{else}}",
    "{{range .Mounts}}",
    "{{range $i, $e := .Config.Env}}",
    "{{range 99}}",
    "{{if .State.Running}}",
    "{{with .State}}",
    "{{define \"t\"}}",
    "{{template \"t\" .}}",
    "{{block \"u\" .}}",
    "{{break}}",
    "{{continue}}",
    "{{$x := .}}",
    "{{$x = 1}}",
    "{{$x}}",
    " $x ",
    " . ",
    ".Id",
    ".Config.Labels",
    " | ",
    " (",
    ") ",
    "json ",
    "printf ",
    "\"%s %d %v %q\" ",
    "\"a\" ",
    "1 ",
    "-2.5e3 ",
    "'x' ",
    "nil ",
    "true ",
    "eq ",
    "lt ",
    "index ",
    "slice ",
    "join ",
    "split ",
    "truncate ",
    "pad ",
    "len ",
    "html ",
    "js ",
    "urlquery ",
    "call ",
    "and ",
    "or ",
    "not ",
    "title ",
    "/* ",
    " */",
    "\n",
    "é",
];

#[test]
fn headers_pass_functions_that_change_text() {
    let headers = json!({ "Names": "NAMES", "Image": "IMAGE", "\u{0}Label": {} });
    let template =
        Template::parse("{{upper .Names}} {{truncate .Image 2}} {{.Label \"com.x.some-key\"}}").unwrap();
    assert_eq!(template.execute_headers(&headers).unwrap(), "NAMES IMAGE some key");
    let row = json!({ "Names": "a", "Image": "busybox", "\u{0}Label": { "com.x.some-key": "v" } });
    assert_eq!(template.execute(&row).unwrap(), "A bu v");
    assert!(template.uses("Image") && !template.uses("Size"));
}
