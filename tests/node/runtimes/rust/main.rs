//! The list of behaviours with AWS's own client for Rust. The package's file `behaviour` says which one this has.

use lambda_runtime::streaming::channel;
use lambda_runtime::{run, service_fn, Diagnostic, Error, FunctionResponse, LambdaEvent};
use serde_json::{json, Value};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Debug)]
struct Mistake(&'static str);

impl From<Mistake> for Diagnostic {
    fn from(mistake: Mistake) -> Diagnostic {
        Diagnostic { error_type: "Mistake".into(), error_message: mistake.0.into() }
    }
}

type Answer = Result<FunctionResponse<Value, lambda_runtime::streaming::Body>, Mistake>;

static CALLS: AtomicU64 = AtomicU64::new(0);
static DONE: Mutex<Option<f64>> = Mutex::new(None);

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

fn variables() -> Value {
    let mut found: serde_json::Map<_, _> = std::env::vars().map(|(name, value)| (name, json!(value))).collect();
    found.insert("cwd".into(), json!(std::env::current_dir().unwrap()));
    Value::Object(found)
}

async fn background(event: Value) -> Value {
    let began = now();
    if event == "begin" {
        tokio::spawn(async {
            pause(600).await;
            *DONE.lock().unwrap() = Some(now());
        });
    } else {
        pause(100).await;
    }
    json!({"began": began, "done": *DONE.lock().unwrap()})
}

fn streams(event: Value) -> Answer {
    let (mut sender, body) = channel();
    tokio::spawn(async move {
        sender.send_data("one ".into()).await.unwrap();
        pause(20).await;
        if event == "fail" {
            sender.abort();
        } else {
            sender.send_data("two".into()).await.unwrap();
        }
    });
    Ok(FunctionResponse::StreamingResponse(body.into()))
}

async fn behave(behaviour: &str, event: LambdaEvent<Value>) -> Answer {
    let (event, context) = event.into_parts();
    let answer = match behaviour {
        "echo" => event,
        "context" => json!({
            "id": context.request_id, "arn": context.invoked_function_arn, "name": context.env_config.function_name,
            "version": context.env_config.version, "memory": context.env_config.memory.to_string(),
            "remaining": context.deadline as f64 - now() * 1000.0,
        }),
        "variables" => variables(),
        "fails" => {
            let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
            if event == "fail" {
                return Err(Mistake("it went wrong"));
            }
            json!(calls)
        }
        "exits" if event == "exit" => std::process::exit(3),
        "exits" => json!("fresh"),
        "sleeps" => {
            pause(30_000).await;
            Value::Null
        }
        "logs" => {
            println!("to stdout");
            eprintln!("to stderr");
            Value::Null
        }
        "large" => json!("x".repeat(event.as_u64().unwrap() as usize)),
        "background" => background(event).await,
        "streams" => return streams(event),
        other => unreachable!("{other}"),
    };
    Ok(FunctionResponse::BufferedResponse(answer))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let behaviour = std::fs::read_to_string("behaviour")?;
    if behaviour == "broken" {
        return Err("not today".into());
    }
    run(service_fn(|event| behave(&behaviour, event))).await
}
