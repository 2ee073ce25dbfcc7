//! Moving and copying what is on the server.

use wl_core::model::{RESERVED, SyncPath};
use wl_core::storage::ErrorKind;

use super::client::{clear, fault, found, is_file, is_link};
use super::connection::{Answered, Connection, Trouble};
use super::packet::{self, Attrs};
use super::site::Site;
use super::write::{make_folders, publish_new, publish_over};
use crate::remote::store::{Found, Outcome};

/// Moves a file or link to where nothing is. There is no moment at which neither name is there; if it is interrupted both are.
pub(super) async fn rename(site: &Site, from: &SyncPath, to: &SyncPath) -> Outcome<Found> {
    let connection = site.connection("move").await?;
    let (from, to) = (site.full(from), site.full(to));
    let (attrs, what) = what_is(&connection, "move", &from).await?;
    if let Some(target) = &what.link {
        let made = connection.symlink(&to, target).await;
        if let Err(trouble) = made {
            return Err(link_failed(&connection, "move", &to, trouble).await);
        }
        let gone = connection.unlink(&from).await;
        gone.map_err(|trouble| fault("move", trouble))?;
        let made = connection.lstat(&to).await;
        let made = made.map_err(|trouble| fault("move", trouble))?;
        return Ok(made
            .and_then(|attrs| found(attrs, what.link.clone()))
            .unwrap_or(what));
    }
    if !connection.offers().hardlink {
        publish_new(&connection, "move", &from, &to).await?;
        return Ok(what);
    }
    move_file(&connection, &from, &to, attrs).await?;
    Ok(what)
}

/// Gives the file its second name, and takes the first away if it is still that of the same file.
async fn move_file(connection: &Connection, from: &str, to: &str, attrs: Attrs) -> Outcome<()> {
    if let Err(trouble) = connection.hard_link(from, to).await {
        if matches!(trouble, Trouble::Broken(_)) || trouble.is(packet::NO_SUCH_FILE) {
            return Err(link_failed(connection, "move", to, trouble).await);
        }
        // Either something is there, or the file system has no hard links.
        return publish_new(connection, "move", from, to).await;
    }
    let same = |now: Option<Attrs>| now == Some(attrs);
    let (moved, left) = futures::join!(connection.lstat(to), connection.lstat(from));
    let moved = moved.map_err(|trouble| fault("move", trouble))?;
    let left = left.map_err(|trouble| fault("move", trouble))?;
    if !same(moved) || !same(left) {
        // Somebody wrote in between: what is at `from` stays there, and has its own name alone again.
        let undone = connection.unlink(to).await;
        undone.map_err(|trouble| fault("move", trouble))?;
        let reason = "it was written to while it was moved";
        return Err(clear("move", ErrorKind::Changed, reason));
    }
    let gone = connection.unlink(from).await;
    gone.map_err(|trouble| fault("move", trouble))
}

/// Why nothing could be made at `to`.
pub(super) async fn link_failed(
    connection: &Connection,
    operation: &'static str,
    to: &str,
    trouble: Trouble,
) -> crate::remote::store::Fault {
    if matches!(trouble, Trouble::Broken(_)) {
        return fault(operation, trouble);
    }
    let folder = to.rsplit_once('/').map_or("/", |(folder, _)| folder);
    match connection.lstat(to).await {
        Ok(Some(_)) => clear(operation, ErrorKind::Changed, "something is there by now"),
        Ok(None) if trouble.is(packet::NO_SUCH_FILE) => {
            let reason = "the folder that should hold it is missing";
            match connection
                .lstat(if folder.is_empty() { "/" } else { folder })
                .await
            {
                Ok(Some(_)) => clear(operation, ErrorKind::NotFound, "nothing is there any more"),
                Ok(None) => clear(operation, ErrorKind::NoParent, reason),
                Err(trouble) => fault(operation, trouble),
            }
        }
        Ok(None) => connection.fault(operation, to, trouble).await,
        Err(trouble) => fault(operation, trouble),
    }
}

/// The file or link at `path`.
async fn what_is(
    connection: &Connection,
    operation: &'static str,
    path: &str,
) -> Outcome<(Attrs, Found)> {
    let attrs = connection.lstat(path).await;
    let Some(attrs) = attrs.map_err(|trouble| fault(operation, trouble))? else {
        return Err(clear(operation, ErrorKind::NotFound, "nothing is there"));
    };
    let mut link = None;
    if is_link(attrs) {
        let target = connection.readlink(path).await;
        link = target.map_err(|trouble| fault(operation, trouble))?;
    }
    match found(attrs, link) {
        Some(found) if is_file(attrs) || found.link.is_some() => Ok((attrs, found)),
        _ => {
            let reason = "what is there is neither a file nor a link any more";
            Err(clear(operation, ErrorKind::Changed, reason))
        }
    }
}

/// Copies a file without its content passing here. Where the server cannot copy, the file gets a second name: nothing that replaces the
/// file harms it then, but who writes into the file writes into the copy as well.
pub(super) async fn copy(
    site: &Site,
    from: &SyncPath,
    to: &SyncPath,
    absent: bool,
) -> Outcome<Found> {
    let connection = site.connection("copy").await?;
    let scratch = scratch(site)?;
    let beside = site.full(&scratch);
    let (from, to) = (site.full(from), site.full(to));
    let (attrs, what) = what_is(&connection, "copy", &from).await?;
    if !is_file(attrs) {
        return Err(clear(
            "copy",
            ErrorKind::Unsupported,
            "only files are copied",
        ));
    }
    let mut copied = duplicate(&connection, &from, &beside, attrs).await;
    if matches!(&copied, Err(trouble) if trouble.is(packet::NO_SUCH_FILE)) {
        make_folders(site, &connection, &scratch).await;
        copied = duplicate(&connection, &from, &beside, attrs).await;
    }
    let placed = match copied {
        Ok(true) if absent => publish_new(&connection, "copy", &beside, &to).await,
        Ok(true) => publish_over(&connection, "copy", &beside, &to).await,
        Ok(false) => {
            let reason = "it was written to while it was copied";
            Err(clear("copy", ErrorKind::Busy, reason))
        }
        Err(trouble) if trouble.is(packet::NO_SUCH_FILE) => {
            Err(link_failed(&connection, "copy", &beside, trouble).await)
        }
        Err(trouble) => Err(connection.fault("copy", &beside, trouble).await),
    };
    if let Err(fault) = placed {
        if !fault.unclear {
            let _ = connection.unlink(&beside).await;
        }
        return Err(fault);
    }
    Ok(what)
}

/// A name for a copy that has no place yet, where leftovers are looked for.
fn scratch(site: &Site) -> Outcome<SyncPath> {
    let name = format!("{RESERVED}/stage/copy-{}", site.serial());
    SyncPath::new(name).map_err(|error| clear("copy", ErrorKind::Other, &error.to_string()))
}

/// A copy, or a second name where the server cannot copy; `false` if the file was written to meanwhile.
async fn duplicate(connection: &Connection, from: &str, to: &str, attrs: Attrs) -> Answered<bool> {
    if connection.offers().copy_data {
        return copy_data(connection, from, to, attrs).await;
    }
    connection.hard_link(from, to).await.map(|()| true)
}

/// Copies with the server's own extension; `false` if the file was written to meanwhile.
async fn copy_data(connection: &Connection, from: &str, to: &str, attrs: Attrs) -> Answered<bool> {
    let none = Attrs::default();
    let source = connection.open_file(from, packet::TO_READ, &none).await?;
    let private = Attrs {
        mode: Some(0o600),
        ..none
    };
    let copy = connection
        .open_file(to, packet::TO_WRITE_NEW, &private)
        .await?;
    let same = Attrs {
        size: None,
        mode: attrs.mode.map(|mode| mode & 0o7777),
        mtime: attrs.mtime,
    };
    let mut copied = connection.ask_extended("copy-data", |packet| {
        let packet = packet.string(source.name()).u64(0).u64(0);
        packet.string(copy.name()).u64(0)
    });
    copied.done().await?;
    let mut set = connection.fsetstat(&copy, &same);
    let sync = connection
        .offers()
        .fsync
        .then(|| connection.ask_extended("fsync@openssh.com", |packet| packet.string(copy.name())));
    set.done().await?;
    if let Some(mut sync) = sync {
        sync.done().await?;
    }
    let (after, made) = (
        connection.fstat(&source).await?,
        connection.fstat(&copy).await?,
    );
    copy.close(connection).await?;
    Ok((after.size, after.mtime) == (attrs.size, attrs.mtime) && made.size == attrs.size)
}
