//! RFC 959 §4.1.3 STOR APPE STOU ALLO.

use super::state::Pending;
use super::transfer::{Job, Transfer};
use super::{Answer, Session};
use crate::control::ControlError;
use crate::proto::command::{Mode, TypeCode};
use crate::proto::text::Visible;
use crate::proto::{Code, Reply};
use crate::transfer::Received;
use crate::vfs::{Upload, VirtualPath, Write};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn stor(&mut self, argument: &[u8]) -> Result<Answer, ControlError> {
        let how = match (std::mem::take(&mut self.pending), self.parameters.type_code) {
            (Pending::Range(..), _) => {
                let text = "RANG is for RETR and HASH; RANG 1 0 takes it back.";
                return Ok(Err(Reply::new(Code::ParameterNotImplemented, text)));
            }
            (Pending::Nothing | Pending::Rename(_) | Pending::Restart(0), _) => Write::Truncate,
            (Pending::Restart(offset), TypeCode::Image) => Write::At(offset),
            // REST counts bytes of the data stream (RFC 3659 §5.2); which byte of the file that is,
            // only the earlier transfer knew.
            (Pending::Restart(_), TypeCode::Ascii) => {
                let text = "REST before STOR works in TYPE I only.";
                return Ok(Err(Reply::new(Code::TypeMismatch, text)));
            }
        };
        self.write("STOR", argument, how).await
    }

    pub(super) async fn appe(&mut self, argument: &[u8]) -> Result<Answer, ControlError> {
        // RFC 3659 §5 knows REST before RETR and STOR; APPE knows where it starts.
        self.pending = Pending::Nothing;
        self.write("APPE", argument, Write::Append).await
    }

    /// STOU names the file in its 150 (RFC 1123 §4.1.2.9), in this very form.
    pub(super) async fn stou(&mut self) -> Result<Answer, ControlError> {
        let opened = match self.open_unique().await {
            Ok(opened) => opened,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (path, upload) = opened;
        let opening = format!("FILE: {}", Visible(path.file_name().unwrap_or_default()));
        self.receive("STOU", path, upload, opening).await.map(Ok)
    }

    async fn open_unique(&mut self) -> Result<(VirtualPath, Upload), Reply> {
        self.has_data_connection()?;
        let directory = self.user()?.directory.clone();
        self.on_disk(move |vfs| vfs.create_unique(&directory)).await
    }

    async fn write(
        &mut self,
        verb: &'static str,
        argument: &[u8],
        how: Write,
    ) -> Result<Answer, ControlError> {
        let (path, upload) = match self.open_for_writing(argument, how).await {
            Ok(opened) => opened,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.receive(verb, path, upload, "Ready for your data.".to_owned())
            .await
            .map(Ok)
    }

    async fn open_for_writing(
        &mut self,
        argument: &[u8],
        how: Write,
    ) -> Result<(VirtualPath, Upload), Reply> {
        let path = self.path(argument)?;
        self.has_data_connection()?;
        self.on_disk(move |vfs| vfs.open_write(&path, how).map(|upload| (path, upload)))
            .await
    }

    async fn receive(
        &mut self,
        verb: &'static str,
        path: VirtualPath,
        upload: Upload,
        opening: String,
    ) -> Result<Reply, ControlError> {
        let how = Received {
            ascii: self.parameters.type_code == TypeCode::Ascii,
            deflated: self.parameters.mode == Mode::Deflate,
        };
        self.transfer(Transfer {
            verb,
            path,
            job: Job::Receive(upload, how),
            opening,
        })
        .await
    }

    /// Nothing is set aside; but what can never be stored is told before it is sent. What only lacks
    /// the room of a file that the upload may be about to replace is not refused.
    pub(super) async fn allo(&self, bytes: u64) -> Answer {
        let path = self.user()?.directory.clone();
        let left = self.on_disk(move |vfs| vfs.may_hold(&path, bytes)).await?;
        let text = format!("No allocation is needed; {left} bytes are left.");
        Ok(Reply::new(Code::Superfluous, text))
    }
}
