// Reading of a table's layout. See read_layout.hpp.
#include "table/read_layout.hpp"

namespace ecto_job {

TableLayout read_layout(Oid table, const NameData &inserted_at, const NameData &updated_at) {
    const auto is_utc = [table](const char *column) {
        return get_atttype(table, get_attnum(table, column)) == TIMESTAMPOID;
    };
    const AttrNumber in_play = get_attnum(table, "in_play");
    return {in_play != InvalidAttrNumber && get_attgenerated(table, in_play) != '\0',
            get_attnum(table, "priority") != InvalidAttrNumber,
            is_utc("schedule"),
            is_utc("expires"),
            is_utc(NameStr(inserted_at)),
            is_utc(NameStr(updated_at))};
}

} // namespace ecto_job
