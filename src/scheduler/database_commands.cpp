// Commands that need a database without connections: DROP, RENAME, SET TABLESPACE, and CREATE with
// it as the template. The scheduler there leaves for them and comes back after the transaction.
//
// First the very lock is taken that the command will take, then the scheduler is asked. Another one
// that starts meanwhile waits for that lock before it counts as a connection. All of it only where
// the command's own checks would pass: otherwise anybody could stop anybody's scheduler by a
// command that fails.
#include "scheduler/database_commands.hpp"

#include "pg/compat.hpp"
#include "pg/database.hpp"
#include "shared/scheduler_signals.hpp"

namespace ecto_job {

namespace {

// What a command needs for itself
struct Need {
    const char *database; // null: none
    LOCKMODE lock;        // on it
    bool may_be_ours;     // it may be the database that this session is connected to
    bool alone;           // it is refused within a transaction block
    bool creates;         // and needs the right to create databases
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
        return {reinterpret_cast<const DropdbStmt *>(command)->dbname, AccessExclusiveLock, false,
                true, false};
    if (IsA(command, RenameStmt)) {
        const auto *const rename = reinterpret_cast<const RenameStmt *>(command);
        return {rename->renameType == OBJECT_DATABASE ? rename->subname : nullptr,
                AccessExclusiveLock, false, false, true};
    }
    if (IsA(command, AlterDatabaseStmt)) {
        const auto *const alter = reinterpret_cast<const AlterDatabaseStmt *>(command);
        return {option_value(alter->options, "tablespace") != nullptr ? alter->dbname : nullptr,
                AccessExclusiveLock, false, true, false};
    }
    if (IsA(command, CreatedbStmt)) {
        const char *const name =
            option_value(reinterpret_cast<const CreatedbStmt *>(command)->options, "template");
        return {name != nullptr ? name : "template1", ShareLock, true, true, true};
    }
    return {};
}

// As the command will check it; what is copied may be a template, too
bool may_run(const Need &need, Oid database) {
    const bool copies = need.lock == ShareLock;
    return (!need.creates || may_create_databases(GetUserId())) &&
           (object_ownercheck(DatabaseRelationId, database, GetUserId()) ||
            (copies && is_template(database)));
}

} // namespace

void make_room_for(const Node *command, bool at_top_level) {
    const Need need = need_of(command);
    if (need.database == nullptr || XactReadOnly ||
        (need.alone && (!at_top_level || IsTransactionBlock() || IsSubTransaction())))
        return;
    const Oid database = get_database_oid(need.database, true);
    if (!OidIsValid(database) || (database == MyDatabaseId && !need.may_be_ours) ||
        !may_run(need, database))
        return;
    LockSharedObject(DatabaseRelationId, database, 0, need.lock);
    stop_scheduler_of(database);
}

} // namespace ecto_job
