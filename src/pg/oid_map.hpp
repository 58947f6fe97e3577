// A hash table by Oid: PostgreSQL's own, which reports a lack of memory as an ERROR, with types.
//
// An entry begins with its key, `Oid oid`, and is freed without a destructor.
#pragma once

#include <cstddef>
#include <type_traits>

#include "pg/pg.hpp"

namespace ecto_job {

template <typename Entry> class OidMap {
public:
    // Makes the table; before this call only exists() may be called. Not a constructor, since that
    // would run when the library is loaded. PostgreSQL's memory reports show the name.
    void create(const char *name, MemoryContext context, long expected_size = 64) {
        static_assert(std::is_trivially_destructible_v<Entry> && offsetof(Entry, oid) == 0);
        HASHCTL control{};
        control.keysize = sizeof(Oid);
        control.entrysize = sizeof(Entry);
        control.hcxt = context;
        table_ = hash_create(name, expected_size, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    }
    bool exists() const { return table_ != nullptr; }

    long size() const { return hash_get_num_entries(table_); }

    // Returns the entry; null if there is none.
    Entry *find(Oid oid) const {
        return static_cast<Entry *>(hash_search(table_, &oid, HASH_FIND, nullptr));
    }

    // Returns the entry, made with its default values if there was none.
    Entry *insert(Oid oid) {
        bool found = false;
        auto *const entry = static_cast<Entry *>(hash_search(table_, &oid, HASH_ENTER, &found));
        if (!found) {
            *entry = Entry{};
            entry->oid = oid;
        }
        return entry;
    }

    void erase(Oid oid) { hash_search(table_, &oid, HASH_REMOVE, nullptr); }

    // Visits all entries, in no order. The visitor may erase the entry that it is given, and no
    // other, and inserts none.
    template <typename F> void for_each(F visit) const {
        HASH_SEQ_STATUS scan;
        hash_seq_init(&scan, table_);
        while (auto *const entry = static_cast<Entry *>(hash_seq_search(&scan)))
            visit(entry);
    }

private:
    HTAB *table_ = nullptr;
};

} // namespace ecto_job
