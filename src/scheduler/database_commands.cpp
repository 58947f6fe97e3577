// Commands that need a database without connections: DROP, RENAME, SET TABLESPACE, and CREATE with
// the database as the template. The scheduler leaves before the command, and another one starts
// after the transaction.
//
// First the session takes the lock on the database that the command will take, then it asks the
// scheduler to leave. A scheduler that starts meanwhile waits for the lock before it counts as a
// connection. All of this happens only if the command's own checks will pass: otherwise any role
// could stop any scheduler by a command that fails.
#include "scheduler/database_commands.hpp"

#include "pg/compat.hpp"
#include "pg/database.hpp"
#include "shared/scheduler_signals.hpp"

namespace ecto_job {

namespace {

// The database that a command needs for itself
struct Need {
    const char *database;           // null: none
    LOCKMODE lock;                  // on it
    bool forbids_transaction_block; // the command is refused within a transaction block
    bool creates;                   // the command needs the right to create databases

    bool copies() const { return lock == ShareLock; }
};

const char *option_value(List *options, const char *name) {
    ListCell *cell = nullptr;
    foreach (cell, options) {
        auto *const option = static_cast<DefElem *>(lfirst(cell));
        if (strcmp(option->defname, name) == 0 && option->arg != nullptr)
            return defGetString(option);
    }
    return nullptr;
}

Need need_of(const Node *command) {
    if (IsA(command, DropdbStmt))
        return {reinterpret_cast<const DropdbStmt *>(command)->dbname, AccessExclusiveLock, true,
                false};
    if (IsA(command, RenameStmt)) {
        const auto *const rename = reinterpret_cast<const RenameStmt *>(command);
        return {rename->renameType == OBJECT_DATABASE ? rename->subname : nullptr,
                AccessExclusiveLock, false, true};
    }
    if (IsA(command, AlterDatabaseStmt)) {
        const auto *const alter = reinterpret_cast<const AlterDatabaseStmt *>(command);
        return {option_value(alter->options, "tablespace") != nullptr ? alter->dbname : nullptr,
                AccessExclusiveLock, true, false};
    }
    if (IsA(command, CreatedbStmt)) {
        const char *const name =
            option_value(reinterpret_cast<const CreatedbStmt *>(command)->options, "template");
        return {name != nullptr ? name : "template1", ShareLock, true, true};
    }
    return {};
}

// Returns whether the command's check of rights will pass. Templates may be copied by all roles.
bool may_run(const Need &need, Oid database) {
    return (!need.creates || may_create_databases(GetUserId())) &&
           (object_ownercheck(DatabaseRelationId, database, GetUserId()) ||
            (need.copies() && is_template(database)));
}

} // namespace

void free_database_for(const Node *command, bool at_top_level) {
    const Need need = need_of(command);
    if (need.database == nullptr || XactReadOnly ||
        (need.forbids_transaction_block &&
         (!at_top_level || IsTransactionBlock() || IsSubTransaction())))
        return;
    const Oid database = get_database_oid(need.database, true);
    if (!OidIsValid(database) || (database == MyDatabaseId && !need.copies()) ||
        !may_run(need, database))
        return;
    LockSharedObject(DatabaseRelationId, database, 0, need.lock);
    stop_scheduler_of(database);
}

} // namespace ecto_job
