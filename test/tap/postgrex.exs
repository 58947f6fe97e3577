# Postgrex for 090_docs on machines that cannot have it: the functions that the documentation's consumer calls, with
# Postgrex's arguments and results, on p1_pgsql, a PostgreSQL driver in Erlang that Debian has. That driver knows TCP
# alone, so the server listens on 127.0.0.1. Parameters become literals in the statement.
defmodule Postgrex do
  defmodule Error do
    defexception [:message]
  end

  @integers [20, 21, 23]

  def start_link(pool_size: 1) do
    [port | names] = Enum.map(~w(PGPORT PGUSER PGPASSWORD PGDATABASE), &String.to_charlist(System.fetch_env!(&1)))
    options = Enum.zip([:user, :password, :database], names)
    :pgsql.connect([host: '127.0.0.1', port: List.to_integer(port), as_binary: true] ++ options)
  end

  def query!(connection, statement, parameters, options \\ []) do
    sql = Regex.replace(~r/\$(\d+)/, statement, fn _, n -> literal(Enum.at(parameters, String.to_integer(n) - 1)) end)

    # Postgrex gives up after 15 s by default; p1_pgsql has no limit, so the caller's time limit is enforced here
    task = Task.async(fn -> :pgsql.squery(connection, sql) end)
    {:ok, [result]} = Task.await(task, Keyword.get(options, :timeout, 15_000))

    case result do
      {:error, properties} -> raise Error, message: "#{properties[:code]} #{properties[:message]}"
      {_tag, columns, rows} -> %{rows: Enum.map(rows, &decoded(columns, &1))}
      _tag -> %{rows: nil}
    end
  end

  def transaction(connection, work) do
    query!(connection, "BEGIN", [])

    try do
      result = work.(connection)
      query!(connection, "COMMIT", [])
      {:ok, result}
    rescue
      error ->
        query!(connection, "ROLLBACK", [])
        reraise error, __STACKTRACE__
    end
  end

  defp literal(n) when is_integer(n), do: Integer.to_string(n)
  defp literal(text) when is_binary(text), do: "'" <> String.replace(text, "'", "''") <> "'"

  defp decoded(columns, row) do
    Enum.zip_with(columns, row, fn
      _, :null -> nil
      column, text when elem(column, 3) in @integers -> String.to_integer(text)
      _, text -> text
    end)
  end
end
