// Runs the Java sample of the producers' guide twice: its first transaction is rolled back, its second is committed.
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.UUID;

public class Main {
    static void place(Connection connection) throws SQLException {
        String payloadJson = "{\"order\": 42}";
        String headersJson = "{\"tenant\": \"a\"}";
        // SAMPLE
    }

    public static void main(String[] args) throws SQLException {
        try (Connection connection = DriverManager.getConnection(
                System.getenv("PRODUCER"), System.getenv("PRODUCER_USER"), System.getenv("PRODUCER_PASSWORD"))) {
            connection.setAutoCommit(false);
            for (boolean commit : new boolean[] {false, true}) {
                try (Statement order = connection.createStatement()) {
                    order.executeUpdate("INSERT INTO orders (id) VALUES (42)");
                }
                place(connection);
                if (commit) {
                    connection.commit();
                } else {
                    connection.rollback();
                }
            }
        }
    }
}
