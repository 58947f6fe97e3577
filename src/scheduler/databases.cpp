// Commands that need a database without connections: DROP, RENAME, SET TABLESPACE, and CREATE with
// it as the template. The scheduler there leaves for them and comes back after the transaction.
//
// It is asked only once the checks of the command itself would pass: otherwise anybody could stop
// anybody's scheduler by a command that fails. The launcher starts none while the entry stands.
#include "scheduler/databases.hpp"

#include "pg/compat.hpp"
#include "shared/wakeup.hpp"

namespace ecto_job {

namespace {

const char *option_value(List *options, const char *name) {
    ListCell *cell = nullptr;
    foreach (cell, options) {
        auto *const option = static_cast<DefElem *>(lfirst(cell));
        if (strcmp(option->defname, name) == 0 && option->arg != nullptr)
            return defGetString(option);
    }
    return nullptr;
}

bool is_template(Oid database) {
    HeapTuple const row = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
    if (!HeapTupleIsValid(row))
        return false;
    const bool result = reinterpret_cast<Form_pg_database>(GETSTRUCT(row))->datistemplate;
    ReleaseSysCache(row);
    return result;
}

// The database that the command needs for itself, if the current role may do it; else InvalidOid
Oid database_needed(const Node *command) {
    const char *name = nullptr;
    bool copies = false;
    bool renames = false;
    if (IsA(command, DropdbStmt)) {
        name = reinterpret_cast<const DropdbStmt *>(command)->dbname;
    } else if (IsA(command, RenameStmt)) {
        const auto *const rename = reinterpret_cast<const RenameStmt *>(command);
        renames = rename->renameType == OBJECT_DATABASE;
        name = renames ? rename->subname : nullptr;
    } else if (IsA(command, AlterDatabaseStmt)) {
        const auto *const alter = reinterpret_cast<const AlterDatabaseStmt *>(command);
        name = option_value(alter->options, "tablespace") != nullptr ? alter->dbname : nullptr;
    } else if (IsA(command, CreatedbStmt)) {
        name = option_value(reinterpret_cast<const CreatedbStmt *>(command)->options, "template");
        name = name != nullptr ? name : "template1";
        copies = true;
    }
    if (name == nullptr)
        return InvalidOid;
    const Oid database = get_database_oid(name, true);
    if (!OidIsValid(database) || database == MyDatabaseId)
        return InvalidOid;
    const bool owner = owns_database(database, GetUserId());
    const bool may = copies ? may_create_databases(GetUserId()) && (owner || is_template(database))
                     : renames ? owner && may_create_databases(GetUserId())
                               : owner;
    return may ? database : InvalidOid;
}

} // namespace

void make_room_for(const Node *command) {
    // A transaction block is refused by the command; so nothing to do there
    const Oid database = IsTransactionBlock() ? InvalidOid : database_needed(command);
    if (OidIsValid(database))
        keep_schedulers_away(database);
    if (IsA(command, CreatedbStmt))
        rescan_databases_at_end();
}

} // namespace ecto_job
