//! The suite that every store passes: one behaviour a function, run on a fresh store each.
//!
//! A store's tests call [`store_contract!`](crate::store_contract) with what makes a fresh, empty store; it
//! becomes one test a behaviour. [`run`] runs all of them in turn.
//!
//! It must not know any store but by the trait. Behaviours wait for facts, never for a time to pass.

mod accounts;
mod audit;
mod copying;
mod history;
mod line;
pub mod line_history;
pub mod line_model;
mod listing;
mod logs;
mod model;
mod nodes;
mod notes;
mod put_away;
mod removal;
mod retention;
pub mod sample;
mod sessions;
mod slots;
mod spend;
mod takeover;

use std::future::Future;

use super::{SharedStore, StoreError};

/// What a behaviour ends with: an error means that a call failed that should not have.
pub type Outcome = Result<(), StoreError>;

/// What must be there.
fn there<T>(value: Option<T>) -> Result<T, StoreError> {
    value.ok_or(StoreError::Missing)
}

/// One test for each behaviour of the store contract: `store_contract!(make)`. `make` is a path or closure
/// that is called without arguments and gives a future of a fresh, empty `SharedStore`.
#[macro_export]
macro_rules! store_contract {
    // The list of behaviours, handed on to another rule with its arguments.
    (@all $rule:ident $arguments:tt) => { $crate::store_contract! { @$rule $arguments
            sessions:
                a_created_session_is_read_back_as_it_was,
                what_is_not_there_is_none_or_missing,
                the_same_session_again_is_created_once,
                another_session_under_a_known_id_is_refused,
                a_used_key_gives_the_older_session,
                a_used_key_with_other_parameters_is_refused,
                keys_of_two_owners_do_not_meet,
                fifty_starts_at_once_with_one_key_make_one_session,
                an_update_changes_only_what_it_names,
                an_update_cannot_end_a_session,
                unfinished_sessions_are_told_by_node_and_oldest_first,
                a_closed_store_answers_nothing;
            takeover:
                a_takeover_moves_node_and_epoch_and_shuts_the_old_owner_out,
                the_same_takeover_again_succeeds_and_undoes_nothing,
                of_two_takers_one_wins,
                a_takeover_must_raise_the_epoch;
            listing:
                pages_come_newest_first_and_say_whether_there_is_more,
                sessions_of_the_same_moment_are_ordered_by_id,
                pages_stay_stable_while_sessions_come_and_go,
                filters_alone_and_together_find_exactly_what_matches,
                a_listed_session_is_told_as_it_is_now;
            logs:
                appended_batches_are_read_back_and_the_record_tells_the_head,
                a_reader_goes_on_from_any_number,
                a_read_stops_at_its_bytes_but_gives_at_least_one_batch,
                a_batch_that_does_not_follow_is_refused_and_leaves_nothing,
                the_same_batch_again_succeeds_and_is_kept_once,
                the_same_bounds_with_other_contents_are_refused,
                an_append_under_another_epoch_is_refused,
                payloads_of_any_bytes_and_sizes_are_kept,
                fifty_sessions_append_at_once_without_a_gap,
                of_two_writers_of_the_same_number_one_wins,
                an_end_appends_and_marks_in_one_step,
                the_same_end_again_succeeds_and_changes_nothing,
                another_end_is_refused,
                an_end_that_does_not_follow_leaves_the_session_running,
                nothing_new_follows_an_end;
            retention:
                reading_with_a_filter_skips_payloads_but_never_a_number,
                a_read_gives_so_many_batches_at_most_and_the_next_goes_on,
                bytes_are_counted_through_appends_cuts_and_removals,
                a_cut_log_reads_from_its_first_kept_number_and_its_bounds_say_so,
                a_cut_takes_so_many_batches_at_most_and_never_the_newest,
                a_cut_by_another_epoch_is_refused_and_cuts_nothing;
            removal:
                ended_sessions_come_the_longest_ended_first,
                pages_of_ended_sessions_stay_stable_while_sessions_come_and_go,
                a_removed_session_is_gone_everywhere_at_once,
                only_an_ended_session_can_be_removed,
                a_key_of_a_removed_session_starts_anew,
                a_purge_takes_so_many_batches_at_most_and_tells_whether_more_remain;
            slots:
                slots_are_taken_up_to_the_cap_and_given_back,
                taking_a_slot_again_counts_once,
                under_concurrency_the_cap_is_never_passed,
                a_principals_own_limit_is_counted_over_all_nodes,
                a_slot_that_is_passed_on_counts_for_its_new_principal,
                a_slot_is_not_passed_on_past_those_who_wait,
                a_nodes_slots_and_places_are_forgotten_together,
                restated_slots_are_taken_also_above_the_cap;
            line:
                a_slot_that_comes_free_goes_to_who_is_next_on_whatever_node,
                nobody_passes_those_who_wait,
                j3_one_who_comes_after_a_hundred_of_anothers_goes_within_two_free_slots,
                j2_a_full_line_takes_nobody_in,
                a_principal_at_its_limit_is_passed_over_and_keeps_its_turn,
                a_held_nodes_places_are_passed_over_until_it_is_held_no_more,
                j6_one_who_leaves_the_line_gets_nothing_and_the_others_move_up,
                what_is_said_again_to_the_line_changes_nothing,
                under_concurrency_everybody_in_the_line_gets_a_slot;
            line_history:
                j1_long_random_histories_of_the_line_agree_with_a_simple_model;
            nodes:
                nodes_are_told_by_name_with_what_they_said_last,
                a_node_whose_lease_has_run_out_is_told_until_it_is_forgotten;
            accounts:
                an_account_is_found_by_name_and_subject,
                taken_names_and_subjects_are_refused,
                an_updated_account_is_replaced_whole,
                accounts_are_told_by_name,
                of_fifty_accounts_of_one_name_one_is_made,
                a_change_of_an_account_that_has_changed_since_is_not_made;
            audit:
                audit_entries_are_told_as_they_were_and_the_newest_first,
                audit_entries_are_found_by_who_what_and_where,
                a_forgotten_audit_entry_is_told_no_more;
            notes:
                a_note_is_read_back_as_it_was_and_kinds_do_not_meet,
                of_two_notes_of_one_key_the_first_stays,
                a_note_is_changed_by_whoever_knows_what_it_says,
                of_fifty_who_take_a_note_one_gets_it,
                of_fifty_who_change_a_note_one_wins,
                a_note_that_has_ended_is_as_if_not_there,
                pages_of_notes_come_in_the_order_of_their_keys,
                a_note_too_large_is_refused,
                a_purge_deletes_notes_that_have_ended;
            put_away:
                a_put_away_session_is_nobodys_but_still_there,
                put_away_sessions_come_the_longest_put_away_first,
                pages_of_put_away_sessions_stay_stable_while_sessions_come_and_go,
                a_put_away_session_is_woken_by_one_taker,
                what_a_session_learns_in_its_life_is_kept_field_by_field,
                an_end_clears_what_waits_and_keeps_the_cost;
            spend:
                spend_is_summed_by_owner_after_a_moment,
                the_same_spend_again_counts_once,
                spend_outlives_its_session,
                forgotten_spend_counts_no_more,
                large_and_many_amounts_are_summed_exactly;
            copying:
                a_log_may_begin_after_a_head_that_was_lost,
                a_session_tells_the_key_that_it_was_created_with,
                ids_of_sessions_come_oldest_first_page_by_page,
                the_spend_ledger_is_told_page_by_page,
                all_nodes_are_told_to_who_is_none,
                nothing_is_wrong_in_a_store_that_has_lived;
            history:
                long_random_histories_agree_with_a_simple_model;
    } };
    (@tests ($make:expr) $($module:ident: $($behaviour:ident),+;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let store = ($make)().await;
                $crate::store::contract::$behaviour(store.clone()).await.expect("a call failed");
                store.close().await;
            }
        )+)+
    };
    (@items () $($module:ident: $($behaviour:ident),+;)+) => {
        $(pub use $module::{$($behaviour),+};)+

        /// Runs every behaviour in turn, each on a store of its own that `make` gives.
        ///
        /// # Errors
        /// The first call that failed and should not have. A broken promise panics, as in any test.
        pub async fn run<F, Fut>(make: F) -> Outcome
        where
            F: Fn() -> Fut,
            Fut: Future<Output = SharedStore>,
        {
            $($({
                tracing::info!(behaviour = stringify!($behaviour), "store contract");
                // On the heap: all of them are one future, and the stack of a test is small.
                let store = Box::pin(make()).await;
                Box::pin($behaviour(store.clone())).await?;
                store.close().await;
            })+)+
            Ok(())
        }
    };
    ($make:expr) => { $crate::store_contract! { @all tests ($make) } };
}

store_contract! { @all items () }
