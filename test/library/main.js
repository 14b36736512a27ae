import { everywhere } from "./everywhere.js";

console.log(JSON.stringify(await everywhere(process.argv[2])));
