//! In which order a server lists, and where a listing goes on that is told to start behind a key.

use std::cmp::Ordering;

use futures::future::try_join_all;

use super::{Probe, unusable};
use crate::remote::order::Order;
use crate::remote::store::{Condition, List, Outcome};

/// Keys that come in another order for each way of comparing that servers are known for, or that a database may have.
const KEYS: [&str; 9] = [
    "B-x", "B.y/z", "B/w-x", "B/w/x", "B0", "a", "b-", "b/c", "_",
];
/// What a listing is told to start behind: a file, what no file in a folder is greater than, and a folder's own file.
const STARTS: [&str; 3] = ["B-x", "B/\u{10FFFF}", "B/w-x"];

impl Probe<'_> {
    /// The order that listings are in. What is not exactly one of those known is none.
    pub(super) async fn order(&self, number: usize) -> Outcome<Order> {
        let folder = self.path(&format!("order-{number}"))?;
        let puts = KEYS.map(async |key| {
            let at = key
                .split('/')
                .try_fold(folder.clone(), |at, name| at.join(name));
            let at = at.map_err(|error| unusable(&error))?;
            self.put(&at, "one", Condition::None).await
        });
        try_join_all(puts).await?;
        let prefix = format!("{}/", folder.as_str());
        let whole = self.keys(&prefix, None).await?;
        for order in [Order::Bytes, Order::Folders] {
            if whole == behind(order, None) {
                return Ok(match self.starts_right(&prefix, order).await? {
                    true => order,
                    false => Order::Unknown,
                });
            }
        }
        Ok(Order::Unknown)
    }

    async fn starts_right(&self, prefix: &str, order: Order) -> Outcome<bool> {
        if !self.wire.facts().start_after {
            return Ok(true);
        }
        let starts = STARTS.map(async |start| {
            let after = format!("{prefix}{start}");
            let found = self.keys(prefix, Some(&after)).await?;
            Outcome::Ok(found == behind(order, Some(start)))
        });
        let right = try_join_all(starts).await?;
        Ok(right.into_iter().all(|right| right))
    }

    async fn keys(&self, prefix: &str, after: Option<&str>) -> Outcome<Vec<String>> {
        let _turn = self.wire.turn(0).await;
        let mut pages = self.wire.store().list(List::Keys { prefix, after }).await?;
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await? {
            let names = page.into_iter().map(|listed| listed.name);
            keys.extend(names.filter_map(|name| Some(name.strip_prefix(prefix)?.to_owned())));
            // A server that comes to no end has no order either.
            if keys.len() > KEYS.len() {
                break;
            }
        }
        Ok(keys)
    }
}

/// The keys in this order, behind one of them.
fn behind(order: Order, start: Option<&str>) -> Vec<String> {
    let is_behind =
        |key: &&str| start.is_none_or(|start| order.compare(start, key) == Some(Ordering::Less));
    let mut keys: Vec<_> = KEYS.into_iter().filter(is_behind).collect();
    keys.sort_by(|one, other| order.compare(one, other).unwrap_or(Ordering::Equal));
    keys.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_tell_the_orders_apart() {
        let bytes = behind(Order::Bytes, None);
        assert_ne!(bytes, behind(Order::Folders, None));
        // As databases compare text.
        let mut folded = bytes.clone();
        folded.sort_by_key(|key| key.to_lowercase());
        let mut letters = bytes.clone();
        letters.sort_by_key(|key| key.replace(|c: char| !c.is_alphanumeric(), ""));
        let mut depth = bytes.clone();
        depth.sort_by_key(|key| key.matches('/').count());
        for other in [folded, letters, depth] {
            assert_ne!(other, bytes);
            assert_ne!(other, behind(Order::Folders, None));
        }
    }
}
