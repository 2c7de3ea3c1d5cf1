DELETE FROM {source} WHERE {column} = new.{column};
