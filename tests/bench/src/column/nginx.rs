//! nginx, serving the files that the gateway would send.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Running, Server, write_private};
use crate::client::{CACHE, Client};
use crate::process::{Process, free_port};

/// An nginx with a folder of files.
#[derive(Debug)]
pub struct Nginx {
    program: PathBuf,
    dir: PathBuf,
    port: u16,
}

impl Nginx {
    /// Writes its configuration into `dir`; what lies in `files` is served.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn prepare(program: &Path, dir: &Path, files: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let port = free_port()?;
        let text = format!(
            "user root; worker_processes auto; daemon off; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type application/octet-stream;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{ listen 127.0.0.1:{port}; root {files}; }}
}}
",
            dir = dir.display(),
            files = files.display(),
        );
        write_private(&dir.join("nginx.conf"), &text)?;
        Ok(Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            port,
        })
    }

    /// Where a column's narinfo lies among the files.
    #[must_use]
    pub fn narinfo(files: &Path, hash: &str) -> PathBuf {
        files.join(CACHE).join(format!("{hash}.narinfo"))
    }

    /// Where a column's NAR lies among the files.
    #[must_use]
    pub fn nar(files: &Path, hash: &str) -> PathBuf {
        files.join(CACHE).join("nar").join(format!("{hash}.nar"))
    }
}

impl Server for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    async fn start(&self) -> Result<Running> {
        let config = self.dir.join("nginx.conf").display().to_string();
        let errors = self.dir.join("error.log").display().to_string();
        let args = ["-c", &config, "-e", &errors];
        let process = Process::start(&self.program, &args, &self.dir.join("log"))?;
        let address = format!("127.0.0.1:{}", self.port);
        process.answers(&format!("http://{address}/ready")).await?;
        Ok(Running {
            process,
            client: Client::new(&format!("http://{address}"), "")?,
            address,
        })
    }
}
