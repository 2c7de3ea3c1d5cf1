// Runs the Node sample of the producers' guide twice: its first transaction is rolled back, its second is committed.
const { randomUUID } = require("node:crypto")
const { Client } = require("pg")

async function place(client) {
    const payload = { order: 42 }
    const headers = { tenant: "a" }
    // SAMPLE
}

async function main() {
    const client = new Client({ connectionString: process.env.PRODUCER })
    await client.connect()
    for (const end of ["ROLLBACK", "COMMIT"]) {
        await client.query("BEGIN")
        await client.query("INSERT INTO orders (id) VALUES (42)")
        await place(client)
        await client.query(end)
    }
    await client.end()
}

main().catch((error) => {
    console.error(error)
    process.exit(1)
})
