//! What is said of settings that wl does not carry over.

use super::conf::Remote;

/// Settings that only change how fast rclone works or what it asks, or that hold for every remote, by type of wl's; `*` for all.
const HARMLESS: [(&str, &[&str]); 8] = [
    (
        "*",
        &[
            "description",
            "chunk_size",
            "upload_concurrency",
            "concurrency",
            "memory_pool_flush_time",
            "memory_pool_use_mmap",
            "idle_timeout",
            "disable_http2",
        ],
    ),
    (
        "s3",
        &[
            "upload_cutoff",
            "copy_cutoff",
            "list_chunk",
            "no_check_bucket",
            "no_head",
            "no_head_object",
            "location_constraint",
            "max_upload_parts",
            "leave_parts_on_error",
            "use_multipart_etag",
            "list_version",
            "list_url_encode",
            "disable_checksum",
        ],
    ),
    (
        "azblob",
        &[
            "upload_cutoff",
            "list_chunk",
            "no_check_container",
            "no_head_object",
        ],
    ),
    (
        "gcs",
        &[
            "project_number",
            "location",
            "no_check_bucket",
            "bucket_policy_only",
        ],
    ),
    (
        "sftp",
        &[
            "shell_type",
            "md5sum_command",
            "sha1sum_command",
            "disable_hashcheck",
            "key_use_agent",
            "disable_concurrent_reads",
            "disable_concurrent_writes",
            "use_fstat",
            "set_modtime",
        ],
    ),
    (
        "ftp",
        &[
            "concurrency",
            "close_timeout",
            "shut_timeout",
            "disable_epsv",
            "disable_mlsd",
            "disable_utf8",
        ],
    ),
    ("http", &["no_head", "no_slash"]),
    (
        "gdrive",
        &[
            "use_trash",
            "pacer_min_sleep",
            "pacer_burst",
            "upload_cutoff",
            "list_chunk",
            "acknowledge_abuse",
        ],
    ),
];

/// What the loss of a setting means, by the start of its name.
const MEANINGS: [(&str, &str); 12] = [
    (
        "encoding",
        "names with characters that rclone encodes look different to wl",
    ),
    (
        "sse_customer",
        "content that is encrypted with a key of your own cannot be read by wl",
    ),
    (
        "server_side_encryption",
        "new content is encrypted as the bucket says",
    ),
    ("sse_kms", "new content is encrypted as the bucket says"),
    ("storage_class", "new content gets the bucket's class"),
    ("acl", "new content gets the bucket's access rules"),
    ("bucket_acl", "new content gets the bucket's access rules"),
    ("no_check_certificate", "wl always checks certificates"),
    (
        "role_",
        "take the role in a profile, and name it with --profile",
    ),
    ("headers", "wl sends no headers of your own"),
    ("key_file_pass", "give the key to ssh-agent"),
    ("known_hosts", "ssh knows servers by its own list"),
];

/// A note for every setting that was not understood and may matter. Values are not repeated.
pub fn of_left(type_name: &str, remote: &Remote) -> Vec<String> {
    let harmless = |key: &str| {
        let mut lists = HARMLESS
            .iter()
            .filter(|(of, _)| *of == "*" || *of == type_name);
        lists.any(|(_, keys)| keys.contains(&key))
    };
    let left = remote.left();
    // What says no to something asks for nothing.
    let asks = left.filter(|(key, value)| !harmless(key) && *value != "false");
    asks.map(|(key, _)| note(key)).collect()
}

fn note(key: &str) -> String {
    let meaning = MEANINGS.iter().find(|(start, _)| key.starts_with(start));
    match meaning {
        Some((_, meaning)) => format!("rclone's setting `{key}` is not carried over: {meaning}"),
        None => format!(
            "rclone's setting `{key}` is not carried over; look with --dry-run before the first run"
        ),
    }
}
