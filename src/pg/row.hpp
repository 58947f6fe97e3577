// Typed access to the columns of rows: those of SPI's last statement, and those of a table.
//
// A table's owner may give a column another type at any time, and the bytes of one type must not be
// read as those of another. So a column is asked for by name and type. In a loop it is looked up
// once, as a Column, since a look-up compares names. SQL's NULL is nullopt.
#pragma once

#include <optional>
#include <type_traits>

#include "pg/pg.hpp"

namespace ecto_job {

// Types of columns: the type in C++, the name in an ERROR, and the types of SQL that fit
template <typename T, Oid type> struct ColumnType {
    using Value = T;
    static constexpr Oid name = type;
    static bool fits(Oid found) { return found == type; }
};
struct Int4 : ColumnType<int32, INT4OID> {
    static int32 from(Datum value, Oid) { return DatumGetInt32(value); }
};
struct Int8 : ColumnType<int64, INT8OID> {
    static int64 from(Datum value, Oid) { return DatumGetInt64(value); }
};
struct Bool : ColumnType<bool, BOOLOID> {
    static bool from(Datum value, Oid) { return DatumGetBool(value); }
};
struct Timestamptz : ColumnType<TimestampTz, TIMESTAMPTZOID> {
    static TimestampTz from(Datum value, Oid) { return DatumGetTimestampTz(value); }
};
struct Text : ColumnType<const char *, TEXTOID> {
    static const char *from(Datum value, Oid) { return TextDatumGetCString(value); }
};
struct Bytea : ColumnType<bytea *, BYTEAOID> {
    static bytea *from(Datum value, Oid) { return DatumGetByteaPP(value); }
};
struct JsonbType : ColumnType<Jsonb *, JSONBOID> {
    static Jsonb *from(Datum value, Oid) { return DatumGetJsonbP(value); }
};
struct AnyOid : ColumnType<Oid, OIDOID> {
    static bool fits(Oid found) { return found == OIDOID || found == REGCLASSOID; }
    static Oid from(Datum value, Oid) { return DatumGetObjectId(value); }
};
struct SqlName : ColumnType<const char *, NAMEOID> {
    static const char *from(Datum value, Oid) { return NameStr(*DatumGetName(value)); }
};
struct IntervalType : ColumnType<const Interval *, INTERVALOID> {
    static const Interval *from(Datum value, Oid) { return DatumGetIntervalP(value); }
};
// A time without a zone is UTC, and has the very bits of one with a zone
struct AnyTimestamp : ColumnType<TimestampTz, TIMESTAMPTZOID> {
    static bool fits(Oid found) { return found == TIMESTAMPTZOID || found == TIMESTAMPOID; }
    static TimestampTz from(Datum value, Oid) { return DatumGetTimestampTz(value); }
};
struct AnyText : Text {
    static bool fits(Oid found) { return found == TEXTOID || found == VARCHAROID; }
};
struct AnyInteger : ColumnType<int64, INT8OID> {
    static bool fits(Oid found);
    static int64 from(Datum value, Oid found);
};
// Any type, as psql shows it
struct Shown : ColumnType<const char *, TEXTOID> {
    static bool fits(Oid) { return true; }
    static const char *from(Datum value, Oid found);
};

// The type or a domain over it; only for reading, since a written value would not be checked
template <typename T> struct OrDomain : T {
    static bool fits(Oid found) { return IsBinaryCoercible(found, T::name); }
};

// The columns of a table or of a result. `table` is the table's name for an ERROR, null for a
// queue's.
struct Columns {
    TupleDesc descriptor;
    const char *table = nullptr;

    // Returns the column's number, 0 if there is none that fits.
    template <typename T> int find(const char *name) const {
        const int number = SPI_fnumber(descriptor, name);
        return number > 0 && T::fits(SPI_gettypeid(descriptor, number)) ? number : 0;
    }
    // Returns the column's number. ERROR 42804 (of a table: 42703) if there is none that fits.
    template <typename T> int number_of(const char *name) const {
        const int number = find<T>(name);
        if (number == 0)
            raise_misfit(name, T::name);
        return number;
    }

private:
    [[noreturn]] void raise_misfit(const char *name, Oid wanted) const;
};

struct Row {
    HeapTuple tuple;
    Columns columns;

    // Returns the value of the column of this number.
    template <typename T> std::optional<typename T::Value> at(int number) const {
        bool is_null = false;
        const Datum value = SPI_getbinval(tuple, columns.descriptor, number, &is_null);
        if (is_null)
            return std::nullopt;
        return T::from(value, SPI_gettypeid(columns.descriptor, number));
    }
    // ERROR as Columns::number_of().
    template <typename T> std::optional<typename T::Value> get(const char *name) const {
        return at<T>(columns.number_of<T>(name));
    }
    // Returns nullopt also where there is no such column, or it has another type.
    template <typename T> std::optional<typename T::Value> find(const char *name) const {
        const int number = columns.find<T>(name);
        return number == 0 ? std::nullopt : at<T>(number);
    }
};

// The rows that SPI's last statement returned, until they are freed
class Rows {
public:
    Rows() : table_(SPI_tuptable), size_(SPI_processed) {
        Assert(table_ != nullptr && size_ <= table_->numvals);
    }
    uint64 size() const { return size_; }
    Columns columns() const { return {table_->tupdesc}; }
    HeapTuple *tuples() const { return table_->vals; }
    Row operator[](uint64 at) const {
        Assert(at < size_);
        return {table_->vals[at], columns()};
    }
    Row only() const {
        Assert(size_ == 1);
        return (*this)[0];
    }

private:
    SPITupleTable *table_;
    uint64 size_;
};

// One column of all rows
template <typename T> class Column {
public:
    // ERROR as Columns::number_of().
    Column(const Rows &rows, const char *name)
        : rows_(rows), number_(rows.columns().number_of<T>(name)) {}
    std::optional<typename T::Value> operator[](uint64 row) const {
        return rows_[row].template at<T>(number_);
    }

private:
    Rows rows_;
    int number_;
};
static_assert(std::is_trivially_destructible_v<Column<Int8>>);

inline Row row_of(Relation table, HeapTuple tuple) {
    return {tuple, {RelationGetDescr(table), RelationGetRelationName(table)}};
}

} // namespace ecto_job
