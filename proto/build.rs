//! Compiles the contracts with protox (no protoc needed), and writes a table of every method with
//! its declared access, so that the one layer that enforces it cannot miss one. A method that
//! mutates and does not say how it is repeated does not build.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

use prost_reflect::{DescriptorPool, MethodDescriptor, Value};

/// Messages with secrets in them; their `Debug` is written by hand in `src/redact.rs`.
const SECRET_MESSAGES: &[&str] = &[
    ".stowage.accounts.v1.AccessKey",
    ".stowage.accounts.v1.CreateApiKeyResponse",
    ".stowage.accounts.v1.LoginRequest",
    ".stowage.accounts.v1.LoginResponse",
    ".stowage.accounts.v1.LogoutRequest",
    ".stowage.accounts.v1.ResolveTokenRequest",
    ".stowage.accounts.v1.ResolveTokenResponse",
    ".stowage.storage.v1.EngineKey",
    ".stowage.storage.v1.EngineSettings",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets it")?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets it")?);
    println!("cargo::rerun-if-changed=stowage");
    println!("cargo::rerun-if-changed=google");

    let mut files = Vec::new();
    find_protos(&root.join("stowage"), &mut files)?;
    files.sort();
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let pool = compiler.descriptor_pool();

    let mut config = tonic_prost_build::Config::new();
    config.skip_debug(SECRET_MESSAGES.iter().copied());
    config.bytes([".stowage.common.v1.Event"]);
    tonic_prost_build::configure()
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;

    fs::write(out.join("descriptors.bin"), pool.encode_to_vec())?;
    fs::write(out.join("methods.rs"), method_table(&pool)?)?;
    fs::write(out.join("repeatable.rs"), repeatable_impls(&pool)?)?;
    Ok(())
}

fn find_protos(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, into)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            into.push(path);
        }
    }
    Ok(())
}

/// What a method declares of itself.
struct Declared {
    allow: Vec<i32>,
    mutates: bool,
    reads_secret: bool,
    repeat_key: String,
    repeat_exempt: String,
}

/// `PRINCIPAL_ROLE_SERVICE`.
const SERVICE: i32 = 4;
/// The field with which callers name a request.
const REQUEST_ID: &str = "request_id";

/// One `MethodAccess` for each method of our packages. A method without a declaration does not
/// build.
fn method_table(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let mut text = String::from("&[\n");
    for method in pool.services().flat_map(|s| s.methods().collect::<Vec<_>>()) {
        let Declared { allow, mutates, reads_secret, repeat_key, repeat_exempt } =
            read_access(pool, &method)?;
        let field = method.input().get_field_by_name(&repeat_key);
        let repeat_field = field.map_or(0, |field| field.number());
        writeln!(
            text,
            "MethodAccess {{ path: {:?}, allow: &{allow:?}, mutates: {mutates}, \
             reads_secret: {reads_secret}, repeat_key: {repeat_key:?}, \
             repeat_field: {repeat_field}, repeat_exempt: {repeat_exempt:?} }},",
            path_of(&method),
        )?;
    }
    text.push_str("]\n");
    Ok(text)
}

/// One `Repeatable` for the request of each method that takes a request id.
fn repeatable_impls(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    for method in pool.services().flat_map(|s| s.methods().collect::<Vec<_>>()) {
        let declared = read_access(pool, &method)?;
        if declared.repeat_key != REQUEST_ID {
            continue;
        }
        let input = method.input();
        writeln!(
            text,
            "impl Repeatable for crate::{}::{} {{\n    const METHOD: &'static str = {:?};\n    \
             const READS_SECRET: bool = {};\n    \
             fn take_request_id(&mut self) -> String {{\n        \
             std::mem::take(&mut self.request_id)\n    }}\n}}",
            input.package_name().replace('.', "::"),
            input.name(),
            path_of(&method),
            declared.reads_secret,
        )?;
    }
    Ok(text)
}

fn path_of(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn read_access(
    pool: &DescriptorPool,
    method: &MethodDescriptor,
) -> Result<Declared, Box<dyn Error>> {
    let extension = pool
        .get_extension_by_name("stowage.common.v1.access")
        .ok_or("the access option is not defined")?;
    let name = method.full_name();
    let options = method.options();
    let value = options.get_extension(&extension);
    let Value::Message(message) = value.as_ref() else {
        return Err(format!("{name} declares no access").into());
    };
    let field = |name: &str| message.get_field_by_name(name).map(std::borrow::Cow::into_owned);
    let allow: Vec<i32> = match field("allow") {
        Some(Value::List(items)) => items.iter().filter_map(Value::as_enum_number).collect(),
        _ => Vec::new(),
    };
    let flag = |name: &str| matches!(field(name), Some(Value::Bool(true)));
    let text = |name: &str| match field(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    if allow.is_empty() {
        return Err(format!("{name} declares no access").into());
    }
    let declared = Declared {
        allow,
        mutates: flag("mutates"),
        reads_secret: flag("reads_secret"),
        repeat_key: text("repeat_key"),
        repeat_exempt: text("repeat_exempt"),
    };
    match fault_of_repeats(method, &declared) {
        Some(fault) => Err(format!("{name} {fault}").into()),
        None => Ok(declared),
    }
}

/// What is wrong with how a method says that it can be repeated.
fn fault_of_repeats(method: &MethodDescriptor, declared: &Declared) -> Option<&'static str> {
    let key = declared.repeat_key.as_str();
    let field = method.input().get_field_by_name(key);
    let takes_id = method.input().get_field_by_name(REQUEST_ID).is_some();
    match (declared.mutates, key, declared.repeat_exempt.as_str()) {
        (false, "", "") => takes_id.then_some("changes nothing and takes a request_id"),
        (false, _, _) => Some("changes nothing and speaks of repeats"),
        (true, "", "") => Some("mutates and says neither repeat_key nor repeat_exempt"),
        (true, "", _) => takes_id.then_some("is exempt and takes a request_id"),
        (true, _, "") if field.is_none() => Some("has no field of the name of its repeat_key"),
        (true, REQUEST_ID, "") => None,
        (true, _, "") if takes_id => Some("takes a request_id that is not its repeat_key"),
        (true, _, "") if declared.allow != [SERVICE] => {
            Some("is for others than services, and its repeat_key is not request_id")
        }
        (true, _, "") => None,
        (true, _, _) => Some("says both repeat_key and repeat_exempt"),
    }
}
