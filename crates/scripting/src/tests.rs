//! States and their limits, without a server.

use super::*;
use crate::state::State;
use std::time::{Duration, Instant};

fn setup(limits: Limits) -> Setup {
    Setup {
        scripts: vec![],
        configuration: serde_json::json!({"Name": "here"}),
        limits,
        dictionary: Arc::default(),
        http: None,
        engine: OnceLock::new(),
        rest: OnceLock::new(),
    }
}

fn state() -> State {
    let limits = Limits { time: Duration::from_millis(300), memory_bytes: 16 << 20, output_bytes: 1 << 20, ..Limits::default() };
    State::new(Arc::new(setup(limits))).unwrap()
}

fn run(state: &mut State, script: &str) -> Result<String> {
    state.execute("id", script, 0).map(|(output, _)| output)
}

#[test]
fn scripts_print_and_remember() {
    let mut state = state();
    assert_eq!(run(&mut state, "print(1 + 1, nil, 'a')").unwrap(), "2, nil, a\n");
    run(&mut state, "x = 5").unwrap();
    assert_eq!(run(&mut state, "print(x)").unwrap(), "5\n");
    assert_eq!(run(&mut state, "return 5").unwrap(), "");
}

#[test]
fn bad_scripts_are_errors_and_the_state_lives_on() {
    let mut state = state();
    for bad in [
        "this is bad",
        "error('boom')",
        "error({})",
        "io.open('x')",
        "os.execute('true')",
        "require('x')",
        "load('x = 1')()",
        "setmetatable({}, {__gc = function() while true do end end})",
        "DumpJson(print)",
        "local t = {} t.t = t DumpJson(t)",
        "\x1bLua",
        "os.remove('x')",
        "os.getenv('PATH')",
        "StoreKeyValue('a', 'b')",
        "StoreKeyValue('a', 'b', {})",
        "GetKeyValue('a', nil)",
        "DeleteKeyValue('a', 'b', 'c')",
        "SetStableStatus('a', 1)",
        "ModifyInstance('a', {}, {}, true)",
    ] {
        assert_eq!(run(&mut state, bad).unwrap_err().kind(), ErrorKind::Script, "{bad}");
    }
    assert_eq!(run(&mut state, "print(2)").unwrap(), "2\n");
}

#[test]
fn nothing_swallows_the_end_of_the_time() {
    let mut state = state();
    for endless in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(pcall, error) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "coroutine.wrap(function() while true do pcall(function() while true do end end) end end)()",
        "table.sort({1, 2, 3}, function() while true do pcall(function() while true do end end) end end)",
        "string.gsub('aaa', 'a', function() while true do pcall(function() while true do end end) end end)",
        "setmetatable({}, {__index = function() while true do end end}).x()",
        "print(setmetatable({}, {__tostring = function() while true do pcall(function() while true do end end) end end}))",
    ] {
        let begin = Instant::now();
        let error = run(&mut state, endless).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Script, "{endless}");
        assert!(error.message().contains("too long"), "{endless}: {error}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{endless}");
    }
    let handled = "print(xpcall(function(a) error(a, 0) end, function(m) return m .. '!' end, 'no'))";
    assert_eq!(run(&mut state, handled).unwrap(), "false, no!\n");

    let yields = "local next = coroutine.wrap(function(a) coroutine.yield(a) error(2, 0) end) print(next(1), pcall(next))";
    assert_eq!(run(&mut state, yields).unwrap(), "1, false, 2\n");
}

#[test]
fn memory_output_and_recursion_end() {
    let mut state = state();
    for hungry in [
        "local s = 'x' while true do s = s .. s end",
        "local s = ('x'):rep(1 << 40)",
        "local t = {} while true do t[#t + 1] = {} end",
        "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(1 << 20) end) end",
        "local function f() return 1 + f() end f()",
        "local function f() pcall(f) f() end f()",
        "while true do print(('x'):rep(1000)) end",
        "ParseJson(('['):rep(100000))[1][1]()",
    ] {
        let begin = Instant::now();
        assert_eq!(run(&mut state, hungry).unwrap_err().kind(), ErrorKind::Script, "{hungry}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{hungry}");
    }
    assert_eq!(run(&mut state, "print(2)").unwrap(), "2\n");
}

#[test]
fn json_is_as_orthanc_writes_it() {
    let mut state = state();
    for (script, expected) in [
        ("print(DumpJson({1, 2, {a = 1}}))", r#"[1,2,{"a":1}]"#),
        ("print(DumpJson({}))", "[]"),
        ("print(DumpJson({a = '1', b = true, c = 2.5, d = 3}, true) ~= nil)", "true"),
        ("print(DumpJson({c = 2.5}, true))", r#"{"c":"2.5"}"#),
        ("print(DumpJson('x'))", "\"x\""),
        ("print(DumpJson(nil))", "null"),
        ("print(DumpJson({10000000000, -5, 2.0}))", "[10000000000.0,-5,2]"),
        ("print(DumpJson(1, 2))", "nil"),
        ("print(ParseJson('[1,'))", "nil"),
        ("print(ParseJson('{\"a\":[1,2]}')['a'][2])", "2"),
        ("print(ParseJson('10000000000'), ParseJson('3.0'), ParseJson('[null,true]')[2])", "10000000000.0, 3, true"),
        ("print(GetOrthancConfiguration()['Name'])", "here"),
        ("print(os.date('!%Y', 0), os.time() > 0, os.clock() > 0)", "1970, true, true"),
        ("PrintRecursive({a = {'b'}})", "table\n"),
    ] {
        let printed = run(&mut state, script).unwrap();
        assert!(printed.trim_end().ends_with(expected.trim_end()) || printed.contains(expected), "{script}: {printed}");
    }
    assert_eq!(
        run(&mut state, "PrintRecursive({a = {'b'}}, 100, '>')").unwrap(),
        ">, table\n>\t[a], table\n>\t[a]\t[1], string, b\n"
    );
    assert!(run(&mut state, "local t = {} t.t = t PrintRecursive(t)").unwrap().lines().count() <= 101);
}

#[test]
fn states_learn_what_others_defined() {
    let mut state = state();
    let definition =
        |name: &str, order, id: &str, script: &str| Definition { name: name.into(), order, id: id.into(), script: script.into() };
    let (_, assigned) = state.execute("1", "a, b = 1, {} print(a)", 0).unwrap();
    assert_eq!(assigned.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    let (_, assigned) = state.execute("2", "local x = a _job = {}", 0).unwrap();
    assert!(assigned.is_empty());
    let all = [
        definition("a", 1, "1", "a, b = 1, {} print(a)"),
        definition("b", 2, "3", "b = (b and RestApiGet('/x')) or 'new'"),
        definition("c", 3, "4", "c = b error('late')"),
    ];
    state.catch_up(&all);
    assert_eq!(run(&mut state, "print(a, b, c)").unwrap(), "1, new, new\n");
    run(&mut state, "c = nil").unwrap();
    state.catch_up(&all);
    assert_eq!(run(&mut state, "print(c)").unwrap(), "new\n", "what another state defined last counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_do_not_wait_for_each_other_and_nest_in_bounds() {
    let lua = Arc::new(Lua::new(setup(Limits::default())));
    let inner = Arc::downgrade(&lua);
    // A server whose every answer is that of a script.
    lua.attach(Box::new(move |request, _| {
        let lua = inner.upgrade();
        Box::pin(async move {
            if request.uri == "/slow" {
                tokio::time::sleep(Duration::from_secs(1)).await;
                return Ok(RestAnswer { status: 200, body: "slow".into() });
            }
            let lua = lua.ok_or(ErrorKind::Internal)?;
            let script = String::from_utf8_lossy(&request.body).into_owned();
            lua.execute("x", script).await.map(|done| RestAnswer { status: 200, body: done.output.into() })
        })
    }));
    let begin = Instant::now();
    let slow = (0..8).map(|_| {
        let lua = lua.clone();
        tokio::spawn(async move { lua.execute("x", "print(RestApiGet('/slow'))".into()).await.unwrap().output })
    });
    for answer in slow.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap(), "slow\n");
    }
    assert!(begin.elapsed() < Duration::from_millis(2500), "{:?}", begin.elapsed());
    let endless = "function again(n) print(RestApiPost('/', 'again = ' .. n)) end \
                   s = 'n = (n or 0) + 1 print(RestApiPost(\"/\", s))' print(RestApiPost('/', s))";
    let output = lua.execute("x", endless.into()).await.unwrap().output;
    assert!(output.contains("nil"), "{output}");
}
