//! The conformance suite of the port [`model::ports::Index`]: a database is done when it passes. Each case is written once and
//! runs on a fresh index of every kind; afterwards all counters must equal a recount.

mod annotations;
mod delete;
mod events;
mod feed;
mod find;
mod fixture;
mod hostile;
mod job_history;
mod job_pages;
mod job_rules;
mod job_turns;
mod jobs;
mod key_values;
mod nodes;
mod quota;
mod random;
mod shared;
mod store;
mod upkeep;
mod uploads;

/// Runs each case on every index.
#[macro_export]
macro_rules! for_each_index {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let mut db = $crate::fixture::sqlite();
                    super::$case(&mut db).await;
                    $crate::fixture::assert_consistent(&*db).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let Some(mut db) = $crate::fixture::postgres().await else { return };
                    super::$case(&mut db).await;
                    $crate::fixture::assert_consistent(&*db).await;
                }
            )*
        }
    };
}
