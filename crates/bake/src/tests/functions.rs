//! The functions, one by one.

use expect_test::expect;

use super::support::check_values;

#[test]
fn numbers() {
    check_values(
        &[
            "absolute(-1.5)",
            "add(1, 2)",
            "subtract(1, 2)",
            "multiply(2, 3)",
            "divide(1, 8)",
            "modulo(-7, 3)",
            "negate(1)",
            "ceil(1.2)",
            "ceil(-1.2)",
            "floor(1.8)",
            "floor(-1.2)",
            "int(-1.8)",
            "signum(-3)",
            "max(1, 3, 2)",
            "min(1, 3, 2)",
            "log(8, 2)",
            "pow(2, 10)",
            "pow(4, 0.5)",
            "pow(2, -1)",
            "parseint(\"ff\", 16)",
            "parseint(\"-12\", 10)",
            "parseint(\"z\", 10)",
            "and(true, false)",
            "or(true, false)",
            "not(true)",
            "equal(1, 1)",
            "notequal(1, 2)",
            "greaterthan(2, 1)",
            "greaterthanorequalto(1, 1)",
            "lessthan(2, 1)",
            "lessthanorequalto(1, 1)",
        ],
        expect![[r#"
            absolute(-1.5) = 1.5
            add(1, 2) = 3
            subtract(1, 2) = -1
            multiply(2, 3) = 6
            divide(1, 8) = 0.125
            modulo(-7, 3) = -1
            negate(1) = -1
            ceil(1.2) = 2
            ceil(-1.2) = -1
            floor(1.8) = 1
            floor(-1.2) = -2
            int(-1.8) = -1
            signum(-3) = -1
            max(1, 3, 2) = 3
            min(1, 3, 2) = 1
            log(8, 2) = 3
            pow(2, 10) = 1024
            pow(4, 0.5) = 2
            pow(2, -1) = 0.5
            parseint("ff", 16) = 255
            parseint("-12", 10) = -12
            parseint("z", 10) = error: docker-bake.hcl:1,20: call of parseint: cannot parse "z" as a base 10 integer
            and(true, false) = false
            or(true, false) = true
            not(true) = false
            equal(1, 1) = true
            notequal(1, 2) = true
            greaterthan(2, 1) = true
            greaterthanorequalto(1, 1) = true
            lessthan(2, 1) = false
            lessthanorequalto(1, 1) = true
        "#]],
    );
}

#[test]
fn texts() {
    check_values(
        &[
            "lower(\"AbÉ\")",
            "upper(\"abé\")",
            "title(\"hello big-world it's\")",
            "trimspace(\"  a \")",
            "trim(\"?!a?!\", \"!?\")",
            "trimprefix(\"helloworld\", \"hello\")",
            "trimsuffix(\"helloworld\", \"world\")",
            "chomp(\"a\\n\\n\")",
            "indent(2, \"a\\nb\")",
            "indent(9223372036854775807, \"a\")",
            "join(\"-\", [\"a\", \"b\"], [\"c\"])",
            "split(\",\", \"a,b,\")",
            "replace(\"1.2.3\", \".\", \"-\")",
            "reverse(\"abc\")",
            "strlen(\"héé\")",
            "substr(\"hello\", 1, 3)",
            "substr(\"hello\", -3, -1)",
            "sanitize(\"a.b/c:d\")",
            "basename(\"/a/b.txt\")",
            "basename(\"\")",
            "dirname(\"/a/b.txt\")",
            "dirname(\"b\")",
            "homedir()",
            "base64encode(\"hi\")",
            "base64decode(\"aGk=\")",
            "urlencode(\"a b&c=d/é\")",
            "jsonencode({a = [1, true, null, \"x\"]})",
            "jsondecode(\"{\\\"a\\\": [1, 2.5]}\")",
            "csvdecode(\"a,b\\n1,2\\n3,\\\"4\\n5\\\"\")",
            "md5(\"hello\")",
            "sha1(\"hello\")",
            "sha256(\"hello\")",
            "substr(sha512(\"hello\"), 0, 16)",
            "uuidv5(\"dns\", \"www.terraform.io\")",
            "strlen(uuidv4())",
            "substr(bcrypt(\"x\", 4), 0, 7)",
            "regex(\"[a-z]+\", \"53453453.345345aaabbbccc23454\")",
            "regex(\"(\\\\d+)-(\\\\d+)\", \"12-34\")",
            "regex(\"(?P<y>\\\\d+)-(?P<m>\\\\d+)\", \"2019-02\")",
            "regex(\"x\", \"a\")",
            "regexall(\"[a-z]\", \"a1b\")",
            "regex_replace(\"hello world\", \"(h)(e)\", \"$2$1\")",
        ],
        expect![[r#"
            lower("AbÉ") = "abé"
            upper("abé") = "ABÉ"
            title("hello big-world it's") = "Hello Big-World It'S"
            trimspace("  a ") = "a"
            trim("?!a?!", "!?") = "a"
            trimprefix("helloworld", "hello") = "world"
            trimsuffix("helloworld", "world") = "hello"
            chomp("a\n\n") = "a"
            indent(2, "a\nb") = "a\n  b"
            indent(9223372036854775807, "a") = "a"
            join("-", ["a", "b"], ["c"]) = "a-b-c"
            split(",", "a,b,") = ["a","b",""]
            replace("1.2.3", ".", "-") = "1-2-3"
            reverse("abc") = "cba"
            strlen("héé") = 3
            substr("hello", 1, 3) = "ell"
            substr("hello", -3, -1) = "llo"
            sanitize("a.b/c:d") = "a_b_c_d"
            basename("/a/b.txt") = "b.txt"
            basename("") = "."
            dirname("/a/b.txt") = "/a"
            dirname("b") = "."
            homedir() = "/home/me"
            base64encode("hi") = "aGk="
            base64decode("aGk=") = "hi"
            urlencode("a b&c=d/é") = "a+b%26c%3Dd%2F%C3%A9"
            jsonencode({a = [1, true, null, "x"]}) = "{\"a\":[1,true,null,\"x\"]}"
            jsondecode("{\"a\": [1, 2.5]}") = {"a":[1,2.5]}
            csvdecode("a,b\n1,2\n3,\"4\n5\"") = [{"a":"1","b":"2"},{"a":"3","b":"4\n5"}]
            md5("hello") = "5d41402abc4b2a76b9719d911017c592"
            sha1("hello") = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"
            sha256("hello") = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
            substr(sha512("hello"), 0, 16) = "9b71d224bd62f378"
            uuidv5("dns", "www.terraform.io") = "a5008fae-b28c-5ba5-96cd-82b4c53552d6"
            strlen(uuidv4()) = 36
            substr(bcrypt("x", 4), 0, 7) = "$2a$04$"
            regex("[a-z]+", "53453453.345345aaabbbccc23454") = "aaabbbccc"
            regex("(\\d+)-(\\d+)", "12-34") = ["12","34"]
            regex("(?P<y>\\d+)-(?P<m>\\d+)", "2019-02") = {"m":"02","y":"2019"}
            regex("x", "a") = error: docker-bake.hcl:1,20: call of regex: pattern did not match any part of the given string
            regexall("[a-z]", "a1b") = ["a","b"]
            regex_replace("hello world", "(h)(e)", "$2$1") = "ehllo world"
        "#]],
    );
}

#[test]
fn formats() {
    check_values(
        &[
            "format(\"%s %d %v\", \"a\", 19, true)",
            "format(\"%d\", 1.9)",
            "format(\"%05d|%-5s|%5s|%+d\", 42, \"a\", \"b\", 3)",
            "format(\"%x %X %o %b %#x\", 255, 255, 8, 5, 255)",
            "format(\"%.2f %e %g %g\", 3.14159, 12345.678, 0.1, 1e30)",
            "format(\"%q %%\", \"a\\\"b\")",
            "format(\"%[2]s %[1]s\", \"a\", \"b\")",
            "format(\"%#v %v\", [\"a\"], [1])",
            "format(\"%s\")",
            "format(\"%s\", 1, 2)",
            "format(\"%z\", 1)",
            "format(\"%.1s\", \"abc\")",
            "formatlist(\"%s-%s\", [\"a\", \"b\"], \"x\")",
            "formatdate(\"YYYY-MM-DD'T'hh:mm:ssZ\", \"2006-01-02T15:04:05+01:00\")",
            "formatdate(\"EEE, D MMM YY H:mmaa ZZZ\", \"2006-01-02T15:04:05Z\")",
            "formatdate(\"EEEE 'o''clock' ZZZZZ\", \"2006-01-02T15:04:05-07:30\")",
            "formatdate(\"Q\", \"2006-01-02T15:04:05Z\")",
            "timeadd(\"2017-11-22T00:00:00Z\", \"-1h30m\")",
            "timestamp()",
            "formattimestamp(\"YYYY\", 1700000000)",
            "unixtimestampparse(0)",
            "semvercmp(\"1.2.3\", \">= 1.2, < 2\")",
            "semvercmp(\"1.2.3\", \"^1.3\")",
            "semvercmp(\"1.2.3\", \"~1.2.1\")",
            "semvercmp(\"2.0.0-rc1\", \">= 1.0\")",
            "semvercmp(\"2.0.0-rc1\", \">= 2.0.0-alpha\")",
            "semvercmp(\"1.4.0\", \"1.x || 3\")",
            "semvercmp(\"1.4.5\", \"1.2 - 1.4\")",
            "semvercmp(\"0.2.9\", \"^0.2.3\")",
            "semvercmp(\"x\", \"1\")",
            "semvercmp(\"1.0.0\", \"!!1\")",
            "cidrhost(\"10.12.127.0/20\", 268)",
            "cidrhost(\"10.0.0.0/24\", -1)",
            "cidrnetmask(\"172.16.0.0/12\")",
            "cidrsubnet(\"172.16.0.0/12\", 4, 2)",
            "cidrsubnet(\"fd00:fd12:3456:7890::/56\", 16, 162)",
            "cidrsubnets(\"10.1.0.0/16\", 4, 4, 8, 4)",
            "cidrhost(\"10.0.0.0/30\", 4)",
        ],
        expect![[r#"
            format("%s %d %v", "a", 19, true) = "a 19 true"
            format("%d", 1.9) = error: docker-bake.hcl:1,20: call of format: %d takes an integer
            format("%05d|%-5s|%5s|%+d", 42, "a", "b", 3) = "00042|a    |    b|+3"
            format("%x %X %o %b %#x", 255, 255, 8, 5, 255) = "ff FF 10 101 0xff"
            format("%.2f %e %g %g", 3.14159, 12345.678, 0.1, 1e30) = "3.14 1.234568e+04 0.1 1e+30"
            format("%q %%", "a\"b") = "\"a\\\"b\" %"
            format("%[2]s %[1]s", "a", "b") = "b a"
            format("%#v %v", ["a"], [1]) = "[\"a\"] [1]"
            format("%s") = error: docker-bake.hcl:1,20: call of format: not enough arguments for %s: need 1, but have 0
            format("%s", 1, 2) = error: docker-bake.hcl:1,20: call of format: too many arguments; only 1 used by format string
            format("%z", 1) = error: docker-bake.hcl:1,20: call of format: unrecognized format character 'z'
            format("%.1s", "abc") = "a"
            formatlist("%s-%s", ["a", "b"], "x") = ["a-x","b-x"]
            formatdate("YYYY-MM-DD'T'hh:mm:ssZ", "2006-01-02T15:04:05+01:00") = "2006-01-02T15:04:05+01:00"
            formatdate("EEE, D MMM YY H:mmaa ZZZ", "2006-01-02T15:04:05Z") = "Mon, 2 Jan 06 3:04pm UTC"
            formatdate("EEEE 'o''clock' ZZZZZ", "2006-01-02T15:04:05-07:30") = "Monday o'clock -07:30"
            formatdate("Q", "2006-01-02T15:04:05Z") = error: docker-bake.hcl:1,20: call of formatdate: invalid date format verb "Q"
            timeadd("2017-11-22T00:00:00Z", "-1h30m") = "2017-11-21T22:30:00Z"
            timestamp() = "2023-11-14T22:13:20Z"
            formattimestamp("YYYY", 1700000000) = "2023"
            unixtimestampparse(0) = {"day":1,"hour":0,"iso_week":1,"iso_year":1970,"minute":0,"month":1,"month_name":"January","rfc3339":"1970-01-01T00:00:00Z","second":0,"weekday":4,"weekday_name":"Thursday","year":1970,"year_day":1}
            semvercmp("1.2.3", ">= 1.2, < 2") = true
            semvercmp("1.2.3", "^1.3") = false
            semvercmp("1.2.3", "~1.2.1") = true
            semvercmp("2.0.0-rc1", ">= 1.0") = false
            semvercmp("2.0.0-rc1", ">= 2.0.0-alpha") = true
            semvercmp("1.4.0", "1.x || 3") = true
            semvercmp("1.4.5", "1.2 - 1.4") = true
            semvercmp("0.2.9", "^0.2.3") = true
            semvercmp("x", "1") = error: docker-bake.hcl:1,20: call of semvercmp: invalid semantic version "x"
            semvercmp("1.0.0", "!!1") = error: docker-bake.hcl:1,20: call of semvercmp: improper constraint: !!1
            cidrhost("10.12.127.0/20", 268) = "10.12.113.12"
            cidrhost("10.0.0.0/24", -1) = "10.0.0.255"
            cidrnetmask("172.16.0.0/12") = "255.240.0.0"
            cidrsubnet("172.16.0.0/12", 4, 2) = "172.18.0.0/16"
            cidrsubnet("fd00:fd12:3456:7890::/56", 16, 162) = "fd00:fd12:3456:7800:a200::/72"
            cidrsubnets("10.1.0.0/16", 4, 4, 8, 4) = ["10.1.0.0/20","10.1.16.0/20","10.1.32.0/24","10.1.48.0/20"]
            cidrhost("10.0.0.0/30", 4) = error: docker-bake.hcl:1,20: call of cidrhost: prefix of 30 does not accommodate a host numbered 4
        "#]],
    );
}

#[test]
fn collections() {
    check_values(
        &[
            "length([1, 2])",
            "length({a = 1})",
            "element([\"a\", \"b\", \"c\"], 4)",
            "element([\"a\", \"b\"], -1)",
            "index([\"a\"], 0)",
            "index({a = 1}, \"a\")",
            "hasindex([1], 1)",
            "hasindex({a = 1}, \"a\")",
            "indexof([\"a\", \"b\"], \"b\")",
            "indexof([\"a\"], \"z\")",
            "contains([\"a\"], \"a\")",
            "contains(split(\",\", \"a,b\"), \"b\")",
            "lookup({a = 1}, \"b\", 2)",
            "keys({b = 1, a = 2})",
            "values({b = 1, a = 2})",
            "merge({a = 1}, {a = 2, b = 3})",
            "zipmap([\"a\", \"b\"], [1, 2])",
            "concat([1], [\"a\"])",
            "flatten([[1, [2]], [3]])",
            "distinct([\"b\", \"a\", \"b\"])",
            "compact([\"a\", \"\", \"b\"])",
            "coalesce(null, \"\", \"a\")",
            "coalescelist([], [1])",
            "reverselist([1, 2])",
            "slice([1, 2, 3], 1, 2)",
            "slice([1], 1, 3)",
            "sort([\"b\", \"a\"])",
            "chunklist([1, 2, 3], 2)",
            "range(3)",
            "range(1, 8, 3)",
            "range(3, 0)",
            "range(0, 3, -1)",
            "sethaselement([1, 2], 2)",
            "setintersection([1, 2, 3], [2, 3])",
            "setproduct([\"a\", \"b\"], [1, 2])",
            "setsubtract([1, 2, 3], [2])",
            "setsymmetricdifference([1, 2], [2, 3])",
            "setunion([2, 1], [3, 2])",
            "try(nothing, \"fallback\")",
            "can(nothing)",
            "can(1)",
            "convert(\"5\", number)",
            "convert([1, \"a\"], list(string))",
            "convert({}, list(string))",
            "max([1, 5, 2]...)",
            "byteslen(\"héé\")",
            "bytesslice(\"x\", 0, 1)",
            "rsadecrypt(\"x\", \"y\")",
            "nosuch(1)",
            "length(1)",
            "length([1], [2])",
        ],
        expect![[r#"
            length([1, 2]) = 2
            length({a = 1}) = 1
            element(["a", "b", "c"], 4) = "b"
            element(["a", "b"], -1) = "b"
            index(["a"], 0) = "a"
            index({a = 1}, "a") = 1
            hasindex([1], 1) = false
            hasindex({a = 1}, "a") = true
            indexof(["a", "b"], "b") = 1
            indexof(["a"], "z") = error: docker-bake.hcl:1,20: call of indexof: item not found
            contains(["a"], "a") = true
            contains(split(",", "a,b"), "b") = true
            lookup({a = 1}, "b", 2) = 2
            keys({b = 1, a = 2}) = ["a","b"]
            values({b = 1, a = 2}) = [2,1]
            merge({a = 1}, {a = 2, b = 3}) = {"a":2,"b":3}
            zipmap(["a", "b"], [1, 2]) = {"a":1,"b":2}
            concat([1], ["a"]) = [1,"a"]
            flatten([[1, [2]], [3]]) = [1,2,3]
            distinct(["b", "a", "b"]) = ["b","a"]
            compact(["a", "", "b"]) = ["a","b"]
            coalesce(null, "", "a") = ""
            coalescelist([], [1]) = [1]
            reverselist([1, 2]) = [2,1]
            slice([1, 2, 3], 1, 2) = [2]
            slice([1], 1, 3) = error: docker-bake.hcl:1,20: call of slice: 1 to 3 are not within the 1 elements
            sort(["b", "a"]) = ["a","b"]
            chunklist([1, 2, 3], 2) = [[1,2],[3]]
            range(3) = [0,1,2]
            range(1, 8, 3) = [1,4,7]
            range(3, 0) = [3,2,1]
            range(0, 3, -1) = error: docker-bake.hcl:1,20: call of range: a step of -1 never comes from 0 to 3
            sethaselement([1, 2], 2) = true
            setintersection([1, 2, 3], [2, 3]) = [2,3]
            setproduct(["a", "b"], [1, 2]) = [["a",1],["a",2],["b",1],["b",2]]
            setsubtract([1, 2, 3], [2]) = [1,3]
            setsymmetricdifference([1, 2], [2, 3]) = [1,3]
            setunion([2, 1], [3, 2]) = [1,2,3]
            try(nothing, "fallback") = "fallback"
            can(nothing) = false
            can(1) = true
            convert("5", number) = 5
            convert([1, "a"], list(string)) = ["1","a"]
            convert({}, list(string)) = error: docker-bake.hcl:1,20: list required, but have object
            max([1, 5, 2]...) = 5
            byteslen("héé") = 5
            bytesslice("x", 0, 1) = error: docker-bake.hcl:1,20: bytesslice takes a buffer of bytes, of which there is none in bake files
            rsadecrypt("x", "y") = error: docker-bake.hcl:1,20: rsadecrypt is not there: a bake file is no place for a private key
            nosuch(1) = error: docker-bake.hcl:1,20: there is no function named "nosuch"
            length(1) = error: docker-bake.hcl:1,20: call of length: a collection is required, not a number
            length([1], [2]) = error: docker-bake.hcl:1,20: length takes 1 arguments, not 2
        "#]],
    );
}
