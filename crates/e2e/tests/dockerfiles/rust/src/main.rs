//! Counts visits in a file of its folder.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> Result<()> {
    let port = std::env::var("COUNTER_PORT").unwrap_or_default();
    let listener = TcpListener::bind(format!("127.0.0.1:{}", port))?;
    for stream in listener.incoming() {
        if let Err(error) = serve(stream?) {
            eprintln!("{}", error);
        }
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    // Who hangs up at once is no visitor.
    if lines.next().is_none() {
        return Ok(());
    }
    while lines.next().map_or(Ok(false), |line| line.map(|line| !line.is_empty()))? {}
    let before = std::fs::read_to_string("visits").unwrap_or_default();
    let visits = before.trim().parse::<u64>().unwrap_or(0) + 1;
    std::fs::write("visits", visits.to_string())?;
    let said = shout::shout(&format!("visit {}\n", visits));
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}", said.len(), said)
}
