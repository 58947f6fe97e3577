// Reading a table's layout. See layout.hpp.
#include "table/layout.hpp"

namespace ecto_job {

namespace {

bool has(Oid table, const char *column) {
    return get_attnum(table, column) != InvalidAttrNumber;
}

bool has_generated(Oid table, const char *column) {
    return has(table, column) && get_attgenerated(table, get_attnum(table, column)) != '\0';
}

bool is_utc(Oid table, const char *column) {
    return has(table, column) && get_atttype(table, get_attnum(table, column)) == TIMESTAMPOID;
}

} // namespace

TableLayout read_layout(Oid table, const NameData &inserted_at, const NameData &updated_at) {
    return {has_generated(table, "in_play"),     has(table, "priority"),
            is_utc(table, "schedule"),           is_utc(table, "expires"),
            is_utc(table, NameStr(inserted_at)), is_utc(table, NameStr(updated_at))};
}

} // namespace ecto_job
