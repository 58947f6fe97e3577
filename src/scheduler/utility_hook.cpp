// The hook on utility commands. It acts on
// - commands that need a database for themselves;
// - CREATE DATABASE: the launcher scans pg_database afterwards;
// - PREPARE TRANSACTION: its identifier is kept for the note;
// - COMMIT PREPARED and ROLLBACK PREPARED: the note is reported, or dropped;
// - commands that may change or drop an extension: a sleeping scheduler would not learn of that.
#include "pg/boundary.hpp"
#include "queue/prepared_changes.hpp"
#include "queue/transaction_end.hpp"
#include "scheduler/database_commands.hpp"
#include "scheduler/preload.hpp"

namespace ecto_job {

namespace {

ProcessUtility_hook_type next_hook = nullptr;

const TransactionStmt *transaction_command(const Node *command) {
    return IsA(command, TransactionStmt) ? reinterpret_cast<const TransactionStmt *>(command)
                                         : nullptr;
}

bool may_change_extensions(const Node *command) {
    switch (nodeTag(command)) {
    case T_AlterExtensionStmt:
    case T_DropOwnedStmt:
        return true;
    case T_DropStmt:
        return reinterpret_cast<const DropStmt *>(command)->removeType == OBJECT_EXTENSION;
    default:
        return false;
    }
}

void before_command(const Node *command, bool at_top_level) {
    if (const TransactionStmt *const transaction = transaction_command(command)) {
        if (transaction->kind == TRANS_STMT_PREPARE)
            begin_prepare(transaction->gid);
        return;
    }
    if (!IsTransactionState())
        return;
    free_database_for(command, at_top_level);
    if (may_change_extensions(command))
        signal_scheduler_at_commit(Start::no);
}

// What after_command() needs to know of a command, copied before the command runs: a CALL may end
// transactions, and that frees the command's parse tree.
struct FinishedCommand {
    bool creates_database;
    bool finishes_prepared;
    bool commits;
    char gid[GIDSIZE];
};

FinishedCommand what_finishes(const Node *command) {
    FinishedCommand finished{};
    finished.creates_database = IsA(command, CreatedbStmt);
    const TransactionStmt *const transaction = transaction_command(command);
    if (transaction == nullptr)
        return finished;
    finished.commits = transaction->kind == TRANS_STMT_COMMIT_PREPARED;
    finished.finishes_prepared =
        finished.commits || transaction->kind == TRANS_STMT_ROLLBACK_PREPARED;
    if (finished.finishes_prepared)
        strlcpy(finished.gid, transaction->gid, sizeof finished.gid);
    return finished;
}

void after_command(const FinishedCommand &finished) {
    if (finished.creates_database)
        request_database_scan_at_commit();
    if (!finished.finishes_prepared)
        return;
    if (finished.commits)
        report_prepared(finished.gid);
    else
        drop_prepared(finished.gid);
}

void on_command(PlannedStmt *statement, const char *text, bool read_only_tree,
                ProcessUtilityContext context, ParamListInfo parameters,
                QueryEnvironment *environment, DestReceiver *receiver,
                QueryCompletion *completion) {
    const Node *const command = statement->utilityStmt;
    const bool at_top_level = context == PROCESS_UTILITY_TOPLEVEL;
    const FinishedCommand finished = what_finishes(command);
    at_boundary([=] { before_command(command, at_top_level); });
    const ProcessUtility_hook_type next =
        next_hook != nullptr ? next_hook : standard_ProcessUtility;
    next(statement, text, read_only_tree, context, parameters, environment, receiver, completion);
    at_boundary([&finished] { after_command(finished); });
}

} // namespace

void install_utility_hook() {
    next_hook = ProcessUtility_hook;
    ProcessUtility_hook = on_command;
}

} // namespace ecto_job
