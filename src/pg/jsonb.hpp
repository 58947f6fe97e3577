// Reading of jsonb.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Returns the text of a string or a key; null for any other value.
inline const char *text_of(const JsonbValue &value) {
    return value.type == jbvString
               ? pnstrdup(value.val.string.val, static_cast<Size>(value.val.string.len))
               : nullptr;
}

// Calls visit(key, value) for each pair of the object.
template <typename F> void for_each_pair(const Jsonb *object, F visit) {
    JsonbIterator *iterator = JsonbIteratorInit(const_cast<JsonbContainer *>(&object->root));
    constexpr bool skip_nested = true;
    JsonbValue key, value;
    for (JsonbIteratorToken token;
         (token = JsonbIteratorNext(&iterator, &key, skip_nested)) != WJB_DONE;)
        if (token == WJB_KEY) {
            JsonbIteratorNext(&iterator, &value, skip_nested);
            visit(key, value);
        }
}

} // namespace ecto_job
