//! RFC 959 §4.1.3 LIST NLST STAT with a path, RFC 3659 §7 MLSD MLST.

use super::list_lines::{Format, Lines, ListingLines, StatLines, look};
use super::recursion::Most;
use super::transfer::{Job, Transfer};
use super::{Answer, Session};
use crate::control::ControlError;
use crate::proto::list_options::{ListRequest, Width};
use crate::proto::{Code, Reply};
use crate::vfs::{Vfs, VfsError, VirtualPath};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite};

pub(super) use super::listing::Facts;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn list(&mut self, request: ListRequest) -> Result<Answer, ControlError> {
        let width = request.options.width.unwrap_or(Width::Long);
        self.list_as("LIST", request, width).await
    }

    pub(super) async fn nlst(&mut self, request: ListRequest) -> Result<Answer, ControlError> {
        let width = request.options.width.unwrap_or(Width::Short);
        self.list_as("NLST", request, width).await
    }

    async fn list_as(
        &mut self,
        verb: &'static str,
        ListRequest { options, path }: ListRequest,
        width: Width,
    ) -> Result<Answer, ControlError> {
        let argument = path.clone();
        let most = Most::of(&self.context.config.limits);
        let open = move |vfs: &Vfs, path: &VirtualPath| {
            Lines::open(vfs, path, argument.as_deref(), options, format(width), most).map(Some)
        };
        self.send_listing(verb, path.as_deref(), open).await
    }

    /// Of directories only (RFC 3659 §7).
    pub(super) async fn mlsd(&mut self, argument: Option<&[u8]>) -> Result<Answer, ControlError> {
        let format = match self.facts_format() {
            Ok(format) => format,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let open = move |vfs: &Vfs, path: &VirtualPath| Lines::of_directory(vfs, path, format);
        self.send_listing("MLSD", argument, open).await
    }

    fn facts_format(&self) -> Result<Format, Reply> {
        let rights = self.user()?.account.rights;
        Ok(Format::Facts {
            facts: self.parameters.facts.clone(),
            rights,
        })
    }

    async fn send_listing(
        &mut self,
        verb: &'static str,
        argument: Option<&[u8]>,
        open: impl FnOnce(&Vfs, &VirtualPath) -> Result<Option<Lines>, VfsError> + Send + 'static,
    ) -> Result<Answer, ControlError> {
        match self.open_listing(verb, argument, open).await {
            Ok(transfer) => self.transfer(transfer).await.map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    async fn open_listing(
        &mut self,
        verb: &'static str,
        argument: Option<&[u8]>,
        open: impl FnOnce(&Vfs, &VirtualPath) -> Result<Option<Lines>, VfsError> + Send + 'static,
    ) -> Result<Transfer, Reply> {
        let path = self.path_or_here(argument)?;
        self.has_data_connection()?;
        let tree = self.user()?.tree.clone();
        let lines = self
            .on_disk({
                let path = path.clone();
                move |vfs| open(vfs, &path)
            })
            .await?;
        let lines = lines
            .ok_or_else(|| Reply::new(Code::ArgumentError, "MLSD is for directories; use MLST."))?;
        Ok(Transfer {
            verb,
            path,
            job: Job::Listing(ListingLines::new(tree, lines)),
            opening: "Here comes the listing.".to_owned(),
        })
    }

    /// One entry, over the control connection, under its whole name (RFC 3659 §7.2).
    pub(super) async fn mlst(&mut self, argument: Option<&[u8]>) -> Answer {
        let path = self.path_or_here(argument)?;
        let format = self.facts_format()?;
        let argument = argument.unwrap_or_default().to_vec();
        let entry = self
            .on_disk(move |vfs| {
                let mut entry = look(vfs, &path, &argument)?;
                entry.name = path.as_bytes().to_vec();
                Ok(entry)
            })
            .await?;
        let mut line = vec![b' '];
        format.write_in_reply(entry, &mut line);
        Ok(Reply::new(Code::ActionOkay, "End")
            .with_line(&b"Listing:"[..])
            .with_line(line))
    }

    /// STAT with a path: LIST over the control connection, of one directory.
    pub(super) async fn stat_path(&mut self, request: ListRequest) -> Answer {
        let ListRequest { options, path } = request;
        let width = options.width.unwrap_or(Width::Long);
        let at = self.path_or_here(path.as_deref())?;
        let (mut lines, done) = self
            .on_disk(move |vfs| {
                let format = format(width);
                let lines = Lines::open(vfs, &at, path.as_deref(), options, format, None)?;
                let mut lines = StatLines::new(lines);
                let done = lines.gather_some(vfs)?;
                Ok((lines, done))
            })
            .await?;
        if !done {
            lines = self
                .on_a_thread(move |vfs| lines.gather_all(vfs).map(|()| lines))
                .await?;
        }
        Ok(lines.into_reply())
    }

    pub(super) fn path_or_here(&self, argument: Option<&[u8]>) -> Result<VirtualPath, Reply> {
        match argument {
            Some(argument) => self.path(argument),
            None => Ok(self.user()?.directory.clone()),
        }
    }
}

fn format(width: Width) -> Format {
    match width {
        Width::Long => Format::Long {
            now: SystemTime::now(),
        },
        Width::Short => Format::Name {
            directory: Vec::new(),
        },
    }
}
